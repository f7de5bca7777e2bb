//! Loading a PEFT directory into a model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn_lora::{Adapter, AdapterConfig, Method};
use burn_lora_files::floats;
use burn_lora_text::and;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::attached::{Attached, check_settings, unstoppable};
use super::config::{PeftConfig, read_config};
use super::files::{CONFIG_FILE, TENSORS_FILE, read, usable};
use super::foreign::foreign;
use super::keys::{Part, Slot, crossing, of_tied_head, prefixed, transpose};
use super::moved;
use super::save::shared_table;
use super::unwrap::{MAGNITUDE, one_cause, unwrapped};
use crate::config::{HEAD, LoraConfig};
use crate::error::{KeyProblem, PatchError};
use crate::layout::{Layout, LinearTypes};
use crate::patch::Plan;
use crate::path::{last_segment, parent};
use crate::report::PatchReport;
use crate::rewrite::add_sets;
use crate::scan::{ParamInfo, ParamRole, Scan};
use crate::select::{Selection, Unmatched};
use crate::tensors::{compare, write};

/// How an adapter is loaded.
///
/// ```
/// use burn_lora_patch::LoadOptions;
///
/// let options = LoadOptions::new().with_name("poems").with_trainable(true);
/// assert_eq!(options.name, "poems");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The adapter's name in the model.
    pub name: String,
    /// Whether its factors, and the modules it saved, are trained on. As in PEFT they are frozen by
    /// default.
    pub trainable: bool,
    /// Types that are linear layers, as they were when the model was patched
    /// ([`LoraConfig::linear_types`](crate::LoraConfig)): files do not say.
    pub linear_types: LinearTypes,
}

impl Default for LoadOptions {
    fn default() -> Self {
        let linear_types = LinearTypes::new();
        Self { name: "default".to_owned(), trainable: false, linear_types }
    }
}

impl LoadOptions {
    /// An adapter called `default`, frozen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the adapter's name in the model.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Says that structs called `name` are linear layers whose `weight` lies so.
    pub fn with_linear_type(mut self, name: impl Into<String>, layout: Layout) -> Self {
        self.linear_types.insert(name.into(), layout);
        self
    }

    /// Chooses whether the adapter is trained on.
    pub fn with_trainable(mut self, trainable: bool) -> Self {
        self.trainable = trainable;
        self
    }
}

/// Attaches the adapter in `dir` to `model`, puts the values of the modules saved with it into the
/// model, and freezes the rest.
///
/// The directory must fit the model: every factor that the configuration's targets need must
/// be there, with its shape, and nothing else. An entry of the configuration that matches nothing in
/// the model is a warning in the report.
///
/// # Errors
///
/// Files that are not there, not whole or not an adapter's; settings that are not supported;
/// everything about keys, shapes and types that does not fit, at once; a model that carries an
/// adapter of that name already ([`load_into`] puts values into it), or, where the directory has modules
/// that were trained whole, any. The model is then as it was.
pub fn load<M: Module>(
    model: &mut M,
    dir: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<PatchReport, PatchError> {
    let dir = dir.as_ref();
    let file = read_config(dir)?;
    let loaded = file
        .to_config()
        .map_err(|settings| PatchError::Unsupported { path: dir.join(CONFIG_FILE), settings })?;
    let mut config = loaded.config.with_name(options.name.clone());
    config.linear_types = options.linear_types.clone();
    let mut plan = Plan::with_weights(model, &config, Unmatched::Reported)?;
    let slots = slots(&plan);
    let apart = apart(&file, &plan.scan, &slots, &config);
    let tied = plan.selection.tied.as_deref();
    let mut values = values(dir, &slots, Head { apart, tied }, config.largest_scale())?;

    let mut of_all_groups = Vec::new();
    let mut sets = plan.sets(model, &file, |linear, weight| {
        let settings = plan.settings(linear);
        let mut linear = linear.clone();
        if let Some(kernel) = linear.kernel.take() {
            linear.kernel = Some(kernel.clone());
            let mut factors = settings.method.factors().iter();
            let is_crossing = factors.any(|factor| {
                let slot = Slot::factor(factor, &linear, settings.rank);
                values.get(&slot.key).is_some_and(|values| slot.crosses(values))
            });
            if is_crossing {
                of_all_groups.push(linear.path.clone());
            }
            linear.kernel = Some(kernel.with_crossing(is_crossing));
        }
        let values = |factor| {
            let slot = Slot::factor(factor, &linear, settings.rank);
            slot.stored(values.remove(&slot.key).unwrap_or_default())
        };
        let name = &config.name;
        let adapter = match (&linear.kernel, linear.stack()) {
            (Some(kernel), _) => {
                Adapter::convolution_from_values(name, settings, weight, kernel, values)?
            }
            (None, Some(stack)) => {
                Adapter::stack_from_values(name, settings, weight, stack, values)?
            }
            (None, None) => Adapter::from_values(name, settings, weight, values)?
                .with_tied(plan.is_tied(&linear)),
        };
        Ok(if options.trainable { adapter } else { adapter.no_grad() })
    })?;
    sets.extend(plan.token_sets(model, &file, |layer, tokens, weight| {
        let slot = rows_of(&plan, &layer.path);
        let rows = slot.and_then(|slot| Some(slot.stored(values.remove(&slot.key)?)));
        let rows = rows.unwrap_or_default();
        let adapter = match layer.table {
            true => Adapter::tokens_from_values(&config.name, tokens, weight, rows)?,
            false => Adapter::head_tokens_from_values(&config.name, tokens, weight, rows)?,
        };
        Ok(if options.trainable { adapter } else { adapter.no_grad() })
    })?);
    let saved = slots
        .iter()
        .filter(|slot| matches!(slot.part, Part::Base))
        .filter_map(|slot| Some((slot.path.clone(), slot.stored(values.remove(&slot.key)?))))
        .collect();

    plan.report.cross_groups(&of_all_groups);
    if !options.trainable {
        plan.selection.saved_params.clear();
        plan.selection.biases.clear();
        plan.report.trainable = 0;
    }
    plan.report.warnings.extend(loaded.warnings);
    if !of_all_groups.is_empty() {
        plan.report.warnings.push(format!(
            "{} {} with groups, and the adapter sees the channels of all of them, as PEFT's do: the model has to call \
             `lora_forward` there, and it cannot be merged for good",
            and(&of_all_groups),
            if of_all_groups.len() == 1 { "is a convolution" } else { "are convolutions" }
        ));
    }
    *model = add_sets(write(plan.frozen(model), saved), sets);
    Ok(plan.report)
}

/// Puts the values in `dir` into the adapter called `name` that the model has already, and into the
/// modules saved with it. Identities, trainability and multiplier stay, so that training goes on from
/// there with an optimiser's state.
///
/// # Errors
///
/// No adapter of that name; a directory for an adapter of another kind, rank, scale or other layers, or
/// that cannot be read. The model is then as it was.
pub fn load_into<M: Module>(
    model: &mut M,
    name: &str,
    dir: impl AsRef<Path>,
) -> Result<(), PatchError> {
    let dir = dir.as_ref();
    let file = read_config(dir)?;
    let config = file
        .to_config()
        .map_err(|settings| PatchError::Unsupported { path: dir.join(CONFIG_FILE), settings })?
        .config;
    let attached = Attached::of(model, name)?;
    let scan = Scan::of(model);
    check_settings(&attached, &config, &scan)?;
    let slots = attached.slots(&scan, &config)?;
    let apart = apart(&file, &scan, &slots, &config);
    let head = Head { apart, tied: attached.tied() };
    let values = values(dir, &slots, head, config.largest_scale())?;
    let origin = || dir.join(TENSORS_FILE).display().to_string();
    crossing(&slots, &values)
        .map_err(|problem| PatchError::Keys { origin: origin(), problems: vec![problem] })?;
    *model = moved::stored(model, &slots, values);
    Ok(())
}

/// The key of a table that PEFT trained apart from the head which shares it, unless the file has that head with the same
/// values.
fn apart(file: &PeftConfig, scan: &Scan, slots: &[Slot], config: &LoraConfig) -> Option<String> {
    if file.ensure_weight_tying { None } else { shared_table(scan, slots, config) }
}

/// What is known of the head of a model whose head is its token table.
struct Head<'a> {
    /// The key of the table, where PEFT trained it apart: it has to be there twice.
    apart: Option<String>,
    /// The table whose adapter is the head's.
    tied: Option<&'a str>,
}

/// The tensors of the directory by key, which must be exactly those that there are places for; no scale is above
/// `scale`.
fn values(
    dir: &Path,
    slots: &[Slot],
    Head { apart, tied }: Head<'_>,
    scale: f64,
) -> Result<BTreeMap<String, Vec<f32>>, PatchError> {
    let bytes = read(dir, TENSORS_FILE)?;
    let path = dir.join(TENSORS_FILE);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| PatchError::damaged(&path, &error.to_string()))?;
    let known: BTreeSet<&str> = slots.iter().map(|slot| slot.key.as_str()).collect();
    let tensors: BTreeMap<String, TensorView<'_>> = unwrapped(file.tensors(), &known);
    if let Some(problem) = foreign(tensors.keys().map(String::as_str)) {
        return Err(PatchError::Keys {
            origin: path.display().to_string(),
            problems: vec![problem],
        });
    }

    let of_head = tied.map(of_tied_head).map(Vec::from).unwrap_or_default();
    if let Some(key) = untied(&tensors, &of_head) {
        let (origin, problems) = (path.display().to_string(), vec![KeyProblem::Untied { key }]);
        return Err(PatchError::Keys { origin, problems });
    }
    let mut copies: BTreeSet<String> = of_head.into_iter().map(|(key, _)| key).collect();
    copies.extend(
        ["weight", "base_layer.weight"]
            .map(|name| tied_copy(name, &tensors, slots))
            .into_iter()
            .flatten(),
    );
    let has_head = tensors.contains_key(&format!("{}.weight", prefixed("", HEAD)));
    if let Some(key) = apart.filter(|key| !has_head && tensors.contains_key(key)) {
        let (origin, problems) = (path.display().to_string(), vec![KeyProblem::Apart { key }]);
        return Err(PatchError::Keys { origin, problems });
    }
    // PyTorch counts batches beside running statistics, which Burn does not; and PEFT saves the rows of no tokens.
    let tensors = || {
        tensors.iter().filter(|(key, view)| {
            let of_no_token = is_of_tokens(key) && view.shape().first() == Some(&0);
            !(key.ends_with(".num_batches_tracked") || copies.contains(*key) || of_no_token)
        })
    };
    let shapes = tensors().map(|(key, view)| (key.as_str(), view.shape()));
    let present: BTreeSet<&str> = shapes.clone().map(|(key, _)| key).collect();
    let slots: Vec<Slot> = slots
        .iter()
        .filter(|slot| !slot.optional || present.contains(slot.key.as_str()))
        .cloned()
        .collect();
    let slots = slots.as_slice();
    let mut problems: Vec<KeyProblem> =
        compare(slots, shapes).into_iter().map(|problem| explained(problem, slots)).collect();
    if let Some(cause) = one_cause(&problems).or_else(|| switched_off(&problems)) {
        problems = vec![cause];
    }
    let (mut values, mut unread) = (BTreeMap::new(), Vec::new());
    for (key, view) in tensors() {
        match floats::values(view) {
            Some(read) => {
                values.insert(key.clone(), read);
            }
            None => unread.push((key.clone(), format!("{:?}", view.dtype()).to_lowercase())),
        }
    }
    // They are all of one format, and told once.
    if let Some((key, dtype)) = unread.first().cloned() {
        let dtype = match unread.len() - 1 {
            0 => dtype,
            others => format!("{dtype} (and {others} more tensors are not read)"),
        };
        problems.push(KeyProblem::Dtype { key, dtype });
    }
    if !problems.is_empty() {
        return Err(PatchError::Keys { origin: path.display().to_string(), problems });
    }
    usable(&file, &path, scale)?;
    Ok(values)
}

/// The key of a factor of a tied head that is not what the table's is, turned.
fn untied(
    tensors: &BTreeMap<String, TensorView<'_>>,
    of_head: &[(String, String)],
) -> Option<String> {
    let differs = |(head, table): &&(String, String)| {
        let (Some(head), Some(table)) = (tensors.get(head), tensors.get(table)) else {
            return false;
        };
        let turned = match *table.shape() {
            [rows, columns] if head.shape() == [columns, rows] => {
                floats::values(table).map(|values| transpose(&values, rows, columns))
            }
            _ => None,
        };
        floats::values(head) != turned
    };
    of_head.iter().find(differs).map(|(key, _)| key.clone())
}

/// The key of a head that is saved beside a token table of the same values, where the model has no head of its own
/// (`tie_word_embeddings`): PEFT writes both, and they are one.
fn tied_copy(
    name: &str,
    tensors: &BTreeMap<String, TensorView<'_>>,
    slots: &[Slot],
) -> Option<String> {
    let head = format!("{}.{name}", prefixed("", HEAD));
    let tied = !slots.iter().any(|slot| slot.key == head);
    let view = tensors.get(&head).filter(|_| tied)?;
    let same = |(key, other): (&String, &TensorView<'_>)| {
        *key != head && other.shape() == view.shape() && other.data() == view.data()
    };
    tensors.iter().any(same).then_some(head)
}

/// Factors that one kind alone has, by how their keys end, and the key of the configuration that PEFT sets for it.
const OF_A_KIND: [(&str, &str, &str); 2] = [
    (MAGNITUDE, "magnitudes of DoRA", "use_dora"),
    ("lora_B.bias", "biases of factor B", "lora_bias"),
];

/// The cause of all problems, where all that is too much are factors of a kind that the configuration does not say.
fn switched_off(problems: &[KeyProblem]) -> Option<KeyProblem> {
    OF_A_KIND.iter().find_map(|&(end, what, switch)| {
        let is_one = |problem: &KeyProblem| matches!(problem, KeyProblem::Surplus { key, .. } if key.ends_with(end));
        match problems.first()? {
            KeyProblem::Surplus { key, .. } if problems.iter().all(is_one) => {
                let (key, count) = (key.clone(), problems.len());
                Some(KeyProblem::SwitchedOff { key, count, what, switch })
            }
            _ => None,
        }
    })
}

/// The places that the model and the configuration have for tensors.
fn slots(plan: &Plan) -> Vec<Slot> {
    let factors = plan.adapted().flat_map(|linear| {
        let AdapterConfig { method, rank, .. } = *plan.settings(linear);
        method.factors().iter().map(move |factor| Slot::factor(factor, linear, rank))
    });
    let rows = plan.selection.tokens.keys().filter_map(|table| rows_of(plan, table));
    let Selection { saved_params, biases, .. } = &plan.selection;
    let params = || plan.scan.params().iter();
    let adapted: BTreeSet<&str> = plan.adapted().map(|linear| linear.path.as_str()).collect();
    let saved = params()
        .filter(|param| saved_params.contains(&param.path) || biases.contains(&param.path))
        .map(|param| ParamInfo { adapted: adapted.contains(parent(&param.path)), ..param.clone() });
    let beside = params().filter(|param| {
        let module = parent(&param.path);
        param.role == ParamRole::Base
            && (param.container == "Embedding" || last_segment(module) == HEAD)
            && !saved_params.contains(&param.path)
            && !biases.contains(&param.path)
            && (param.container == "Embedding" || !adapted.contains(module))
    });
    // PEFT saves the table that an adapter is on, too.
    let beside = beside.map(|param| {
        let param = ParamInfo { adapted: adapted.contains(parent(&param.path)), ..param.clone() };
        Slot { optional: true, ..Slot::of(&param) }
    });
    factors
        .chain(rows)
        .chain(saved.map(|param| Slot::of(&param)))
        .chain(unstoppable(&plan.scan, saved_params))
        .chain(beside)
        .collect()
}

/// Whether a key is that of rows of an embedding.
fn is_of_tokens(key: &str) -> bool {
    Method::Tokens.factors().iter().any(|factor| key.ends_with(factor.key))
}

/// The place of the rows of a table that are trained.
fn rows_of(plan: &Plan, path: &str) -> Option<Slot> {
    let mut layer = plan.scan.layers().iter().find(|layer| layer.path == path)?.clone();
    if !layer.table {
        // A head's outputs are the rows.
        (layer.d_in, layer.d_out) = (layer.d_out, layer.d_in);
    }
    let tokens = plan.selection.tokens.get(path)?;
    Some(Slot::factor(Method::Tokens.factors().first()?, &layer, tokens.len()))
}

/// A wrong shape is a wrong rank where a factor differs in nothing else, and means added tokens where an embedding
/// does in its rows; a head without a place, or an adapter on one, is the token table's.
fn explained(problem: KeyProblem, slots: &[Slot]) -> KeyProblem {
    let of_head = format!("{}.", prefixed("", HEAD));
    let head = || slots.iter().any(|slot| slot.key.starts_with(&of_head));
    let (key, found, expected) = match problem {
        KeyProblem::Shape { key, found, expected } => (key, found, expected),
        KeyProblem::Surplus { key, .. } if key == format!("{}.weight", prefixed("", HEAD)) => {
            return KeyProblem::TiedHead { key };
        }
        KeyProblem::Surplus { key, .. } if key.starts_with(&of_head) && !head() => {
            return KeyProblem::AdaptedHead { key };
        }
        other => return other,
    };
    let slot = slots.iter().find(|slot| slot.key == key);
    if let (Some(Slot { optional: true, .. }), [_, found_width], [_, width]) =
        (slot, found.as_slice(), expected.as_slice())
        && found_width == width
    {
        return KeyProblem::Rows { key, found, expected };
    }
    let rank_at = slot.and_then(Slot::rank_at);
    let differs = |at: usize| found.get(at) != expected.get(at);
    match rank_at {
        Some(at)
            if found.len() == expected.len()
                && (0..found.len()).all(|i| i == at || !differs(i)) =>
        {
            KeyProblem::Rank { key, rank: found[at], configured: expected[at], found, expected }
        }
        _ => KeyProblem::Shape { key, found, expected },
    }
}
