//! `[adapter]`.

use std::collections::BTreeMap;
use std::rc::Rc;

use burn_lora::{AdapterConfig, Init, Method};
use burn_lora_patch::{Bias, EvaConfig, Patterns, Targets, TargetsForm, TokenIndices};
use burn_lora_text::nearest;
use toml::de::DeValue;
use toml::{Spanned, Value};

use crate::allowed::{
    Allowed, Mismatch, describe, flag, list, name, names, number, text, whole, word,
};
use crate::keys::{Key, Part, UnwritableError, Written, keys};
use crate::named::Named;
use crate::reader::Reader;

/// `[adapter]`: the parameters that are trained.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one a run")]
pub enum AdapterSection {
    /// Any other `method`: the factors of adapted linears.
    Lora(LoraSection),
    /// `method = "full"`: every parameter.
    Full,
}

/// What is trained of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// An adapter of some kind.
    Adapter(Method),
    /// Every parameter.
    Full,
}

impl Named for Trained {
    const ALL: &'static [Self] = &{
        let mut all = [Self::Full; Method::ALL.len() + 1];
        let mut at = 0;
        while at < Method::ALL.len() {
            all[at] = Self::Adapter(Method::ALL[at]);
            at += 1;
        }
        all
    };

    fn name(self) -> &'static str {
        match self {
            Self::Adapter(method) => method.as_str(),
            Self::Full => "full",
        }
    }
}

keys! {
    /// The key that says which others `[adapter]` has.
    pub struct MethodKey in "adapter" {
        /// Train low-rank factors (`dora`: and the magnitude of each column; `miss`: one block of rows that all stretches of a linear's inputs share; `lora-fa`: B alone; `lora-bias`: and a bias of B), or every parameter, for which the other keys of this section mean nothing.
        method: Trained = Trained::Adapter(Method::Lora), word();
    }
}

keys! {
    /// The keys of `[adapter]` that `method = "full"` has not.
    pub struct LoraSection in "adapter" {
        part lora: AdapterConfig, "Kind, rank, alpha, dropout, rsLoRA, initialisation.";
        part eva: EvaConfig, "How ranks are dealt out where the initialisation is EVA.";

        /// The linear layers to adapt, and embeddings by name (`lora` and `dora`): exact paths or endings of them; a regex matches the whole path.
        targets: Targets = Targets::AllLinear, targets();
        /// Parameters of two or three dimensions that are no layer's weight, such as the matrices of a layer's experts, to adapt beside the targets (`targets = "none"` for nothing else): exact paths or endings of them. Of `lora`, without dropout.
        target_parameters: Vec<String> = vec![], names("parameter names");
        /// Layers that `targets` would match but that are left alone.
        exclude: Vec<String> = vec![], names("module names");
        /// A regex of whole paths that are left alone too.
        exclude_regex: Option<String> = None => "none", name().called("regular expression").optional();
        /// Adapt only these layers of the stack.
        layers_to_transform: Option<Vec<usize>> = None => "all",
            list(whole(0..)).called("list of layer numbers from 0").optional();
        /// Names of the lists of layers that the numbers count in, such as ["layers"].
        layers_pattern: Vec<String> = vec![], names("names");
        /// Ranks of layers by regex: the first that matches a layer's path, or an ending of it from a dot on, stands in the place of `rank`. Not with `miss`.
        rank_pattern: Patterns<usize> = Patterns::default(), patterns(whole(1..));
        /// Alphas of layers by regex, as `rank_pattern`, in the place of `alpha`. Not with `miss`.
        alpha_pattern: Patterns<f64> = Patterns::default(), patterns(number(0.0..));
        /// Modules trained whole and saved beside the factors; a classification head always is.
        modules_to_save: Vec<String> = vec![], names("module names");
        /// Tokens whose rows of the token table are trained and saved beside the factors (a head that is the table follows them): a list, or a table of lists by the name of an embedding, or of a head that is a layer of its own. Not with `miss`.
        trainable_token_indices: TokenIndices = TokenIndices::default(), tokens();
        /// Adapt the token table and a head that is the table as one, where `targets` name either; with `lora` alone. Otherwise an adapter on the table leaves such a head as it was.
        ensure_weight_tying: bool = false, flag();
        /// Biases of the base that are trained and saved beside the factors: those of adapted layers (`lora_only`), or every one, of norms too.
        bias: Bias = Bias::None, word();
    }
}

keys! {
    impl AdapterConfig in "adapter" from AdapterConfig::new(rank).with_alpha(alpha) => {
        /// Columns of factor A and rows of factor B; of `miss`, inputs of a stretch.
        rank: usize = 8, whole(1..);
        /// Numerator of the scale, which `miss` has not.
        alpha: f64 = 2.0 * rank as f64 => "2 · `rank`", number(0.0..);
        /// Probability that an input of A is zeroed while training.
        dropout: f64 = 0.0, number(0.0..1.0);
        /// Scale by alpha / √rank instead of alpha / rank; not with `miss`.
        rslora: bool = false, flag();
        /// How the factors start: A drawn and B zero (`kaiming`, `gaussian`), both drawn with a product of zero (`orthogonal`, an even rank), or parts of the base's weights, without which these stay frozen (`pissa`; `pissa_niter_N` by N rounds of a randomised SVD, for large weights; `olora`; these are saved with twice the rank, for the base as it is), or A along the directions in which a layer's inputs vary most and B zero (`eva`: the model first reads training rows, each once at most, and ranks go where most of the inputs varies), or at what the base lost in the blocks of `[model] base` (`loftq`; the adapter is for a base in the same blocks). Not with `miss`, which starts at zero; `lora-bias` has `kaiming` alone, and `lora-fa` no start in the base's weights or in what they lost.
        init: Init = Init::Kaiming, start();
    }
}

keys! {
    /// The keys of [`EvaConfig`].
    pub struct EvaKeys in "adapter" {
        /// How many times its rank a layer can get with `init = "eva"`; with 1, and one rank for all, every layer keeps its rank.
        eva_rho: f64 = 2.0, number(1.0..);
        /// With `init = "eva"`, the cosine of each direction with the one in its place before the last batch from which on a layer is not looked at any more.
        eva_tau: f64 = 0.99, number(0.0..=1.0);
        /// With `init = "eva"`, divide each direction by the root of its singular value.
        eva_whiten: bool = false, flag();
        /// With `init = "eva"`, let alpha go with the rank that a layer gets, so that `alpha / rank` stays.
        eva_adjust_scaling_factors: bool = true, flag();
    }
}

/// The names of the keys that have a meaning with `init = "eva"` alone.
pub(crate) const OF_EVA: [&str; 4] =
    ["eva_rho", "eva_tau", "eva_whiten", "eva_adjust_scaling_factors"];

impl Part for EvaConfig {
    fn keys() -> Vec<Key> {
        EvaKeys::keys()
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let keys = EvaKeys::read(reader)?;
        Some(
            Self::default()
                .with_rho(keys.eva_rho)
                .with_tau(keys.eva_tau)
                .with_whiten(keys.eva_whiten)
                .with_adjust_scaling_factors(keys.eva_adjust_scaling_factors),
        )
    }

    fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError> {
        let keys = EvaKeys {
            eva_rho: self.rho,
            eva_tau: self.tau,
            eva_whiten: self.whiten,
            eva_adjust_scaling_factors: self.adjust_scaling_factors,
        };
        keys.write(out)
    }
}

/// The keys of `[adapter]` that mean nothing to a kind of adapter.
pub(crate) fn meaningless(method: Method) -> impl Iterator<Item = &'static str> {
    let scale: &'static [&'static str] = if method.scaled() { &[] } else { &["alpha", "rslora"] };
    let start: &'static [&'static str] = if method.drawn() { &[] } else { &["init"] };
    let eva: &'static [&'static str] = if method.drawn() { &[] } else { &OF_EVA };
    // Files of other types than LoRA's hold one rank for all layers, and no rows of embeddings.
    let by_layer: &'static [&'static str] = if method.is_of_lora() {
        &[]
    } else {
        &["rank_pattern", "alpha_pattern", "trainable_token_indices"]
    };
    let head: &'static [&'static str] = if method.ties() { &[] } else { &["ensure_weight_tying"] };
    scale.iter().chain(start).chain(eva).chain(by_layer).chain(head).copied()
}

impl Part for AdapterSection {
    fn keys() -> Vec<Key> {
        MethodKey::keys().into_iter().chain(LoraSection::keys()).collect()
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        match MethodKey::read(reader) {
            Some(MethodKey { method: Trained::Full }) => Some(Self::Full),
            key => {
                let section = LoraSection::read(reader);
                let Some(MethodKey { method: Trained::Adapter(method) }) = key else { return None };
                section.map(|mut section| {
                    section.lora.method = method;
                    Self::Lora(section)
                })
            }
        }
    }

    fn write(&self, out: &mut Vec<Written>) -> Result<(), UnwritableError> {
        match self {
            Self::Lora(section) => {
                let (method, init) = (section.lora.method, section.lora.init);
                MethodKey { method: Trained::Adapter(method) }.write(out)?;
                section.write(out)?;
                out.retain(|written| {
                    written.section != "adapter"
                        || !(meaningless(method).any(|key| key == written.name)
                            || init != Init::Eva && OF_EVA.contains(&written.name))
                });
                Ok(())
            }
            Self::Full => MethodKey { method: Trained::Full }.write(out),
        }
    }
}

/// How factors start, by name.
fn start() -> Allowed<Init> {
    let read = |value: &Spanned<DeValue<'_>>| {
        let given = text().read(value)?;
        given.parse::<Init>().map_err(|_| {
            let near = nearest(&given, Init::ALL.map(|init| init.to_string()));
            let hint = near.map(|name| format!("did you mean \"{name}\"?"));
            Mismatch { hint, ..Mismatch::found(value, format!("\"{given}\"")) }
        })
    };
    Allowed::new(Init::WORDS, read, |init: &Init| Value::String(init.to_string()))
}

/// Targets in the forms that they have in every file.
fn targets() -> Allowed<Targets> {
    let read = |value: &Spanned<DeValue<'_>>| {
        let form = match value.get_ref() {
            DeValue::Table(table) => {
                let entries = table
                    .iter()
                    .map(|(key, value)| Ok((key.get_ref().to_string(), text().read(value)?)));
                TargetsForm::Pattern(entries.collect::<Result<BTreeMap<_, _>, _>>()?)
            }
            DeValue::String(word) => TargetsForm::Word(word.to_string()),
            _ => TargetsForm::Names(list(name()).read(value)?),
        };
        Targets::try_from(form).map_err(|error| Mismatch::found(value, error.found()))
    };
    let write = |targets: &Targets| match TargetsForm::from(targets.clone()) {
        TargetsForm::Word(word) => Value::from(word),
        TargetsForm::Names(names) => Value::from(names),
        TargetsForm::Pattern(entries) => Value::from(entries),
    };
    Allowed::new(TargetsForm::WORDS, read, write)
}

/// Tokens of the token table, or of tables by name.
fn tokens() -> Allowed<TokenIndices> {
    let ids = Rc::new(list(whole::<usize>(0..)));
    let of_table = Rc::clone(&ids);
    let words =
        "list of token numbers, or table of such lists by the name of an embedding or a head";
    let read = move |given: &Spanned<DeValue<'_>>| match given.get_ref() {
        DeValue::Table(_) => Ok(entries(given, &of_table)?.into_iter().collect()),
        _ => Ok(TokenIndices::Table(of_table.read(given)?)),
    };
    let write = move |tokens: &TokenIndices| match tokens {
        TokenIndices::Table(tokens) => ids.write(tokens),
        TokenIndices::Named(tables) => {
            let mut written = toml::Table::new();
            for (name, tokens) in tables {
                written.extend(ids.write(tokens)?.map(|value| (name.clone(), value)));
            }
            Ok(Some(Value::Table(written)))
        }
    };
    Allowed::new_fallible(words, read, write)
}

/// Values by pattern of layers, in the order in which they stand: a table, or a list of tables where the order is another
/// than the alphabet's, in which tables are written.
fn patterns<T: Copy + 'static>(value: Allowed<T>) -> Allowed<Patterns<T>> {
    let words = format!(
        "table of regular expressions, each with a {}, or a list of such tables",
        value.words
    );
    let value = Rc::new(value);
    let of_entry = Rc::clone(&value);
    let read = move |given: &Spanned<DeValue<'_>>| match given.get_ref().as_array() {
        Some(tables) => {
            let entries: Result<Vec<_>, Mismatch> =
                tables.iter().map(|table| entries(table, &of_entry)).collect();
            Ok(entries?.into_iter().flatten().collect())
        }
        None => Ok(entries(given, &of_entry)?.into_iter().collect()),
    };
    let write = move |patterns: &Patterns<T>| {
        let mut entries: Vec<(String, Value)> = Vec::new();
        for (pattern, of_pattern) in patterns.iter() {
            entries.extend(value.write(&of_pattern)?.map(|value| (pattern.to_owned(), value)));
        }
        let table = |entries: &[(String, Value)]| {
            Value::Table(entries.iter().cloned().collect::<toml::Table>())
        };
        let sorted = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        Ok(Some(match sorted {
            true => table(&entries),
            false => Value::Array(entries.chunks(1).map(table).collect()),
        }))
    };
    Allowed::new_fallible(words, read, write)
}

/// The entries of a table, in the order of the text.
fn entries<T: 'static>(
    table: &Spanned<DeValue<'_>>,
    allowed: &Allowed<T>,
) -> Result<Vec<(String, T)>, Mismatch> {
    let DeValue::Table(found) = table.get_ref() else {
        return Err(Mismatch::found(table, describe(table.get_ref())));
    };
    let mut entries = Vec::with_capacity(found.len());
    for (pattern, value) in found.iter() {
        let value = allowed.read(value).map_err(|inner| {
            let found = format!("a table with {} at `{}`", inner.found, pattern.get_ref());
            Mismatch { found, ..inner }
        })?;
        entries.push((pattern.span().start, (pattern.get_ref().to_string(), value)));
    }
    entries.sort_by_key(|(at, _)| *at);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}
