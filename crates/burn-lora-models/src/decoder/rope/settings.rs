//! What a `config.json` says of rotary positions, in every spelling: it is used, or refused by its key.

use burn_lora_text::{and, nearest};
use serde_json::{Map, Value};

use super::{RopeConfig, RopeScaling};

/// The kinds of blocks that have positions of their own, as `rope_parameters` calls them: those that see all keys, and
/// those with a window.
const KINDS_OF_BLOCKS: [&str; 2] = ["full_attention", "sliding_attention"];
/// Where the settings of each stand.
const OF_BLOCKS: [&str; 2] =
    ["rope_parameters.full_attention", "rope_parameters.sliding_attention"];
/// Keys that every kind has, or that change nothing where theirs does not use them.
const COMMON: [&str; 4] =
    ["rope_type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"];
/// Keys that Llama 3's scaling has beside them.
const LLAMA3: [&str; 3] = ["factor", "low_freq_factor", "high_freq_factor"];

/// What a family takes of the settings beside the plain ones and Llama 3's.
#[derive(Debug, Clone, Copy, Default)]
struct Takes {
    /// A part of each head that turns.
    share: bool,
    /// Linear scaling.
    linear: bool,
}

impl Takes {
    /// What the settings may say of their kind.
    fn kinds(self) -> &'static str {
        match self.linear {
            true => "supported are \"default\", \"linear\" and \"llama3\"",
            false => "supported are \"default\" and \"llama3\"",
        }
    }
}

/// Settings under the keys that they stand under.
type Given<'a> = [(&'static str, Option<&'a Value>); 2];

impl RopeConfig {
    /// From the keys of a `config.json`: `rope_theta` and `rope_scaling` as transformers 4 wrote
    /// them, or `rope_parameters`, which holds both, as 5 writes them.
    ///
    /// # Errors
    ///
    /// A line for every value that is missing, wrong, not supported, or without a meaning.
    pub fn from_parts(
        theta: Option<f64>,
        scaling: Option<&Value>,
        parameters: Option<&Value>,
    ) -> Result<Self, Vec<String>> {
        Self::parsed(theta, given(scaling, parameters), Takes::default()).map(|(config, _)| config)
    }

    /// [`Self::from_parts`] of a family that may turn a part of each head: with the share that the settings name.
    ///
    /// # Errors
    ///
    /// As [`Self::from_parts`], but for a share below 1.
    pub fn with_share(
        theta: Option<f64>,
        scaling: Option<&Value>,
        parameters: Option<&Value>,
    ) -> Result<(Self, Option<f64>), Vec<String>> {
        let takes = Takes { share: true, ..Takes::default() };
        Self::parsed(theta, given(scaling, parameters), takes)
    }

    /// Of a family whose blocks with a window have positions of their own: those of the blocks that see all keys, and of
    /// those. `rope_parameters` has both by the kinds of blocks; `thetas` are the bases where it says none, and
    /// `scaling` is `rope_scaling` for each of them.
    ///
    /// # Errors
    ///
    /// As [`Self::from_parts`]; settings that are of no kind of block.
    pub fn of_blocks(
        thetas: [f64; 2],
        scaling: [Option<&Value>; 2],
        parameters: Option<&Value>,
    ) -> Result<[Self; 2], Vec<String>> {
        let parameters = match parameters {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => {
                return Err(vec![format!("`rope_parameters` is {other}: an object is needed")]);
            }
        };
        let of_none = |key: &&String| !KINDS_OF_BLOCKS.contains(&key.as_str());
        let others: Vec<&String> = parameters.keys().filter(of_none).collect();
        if !others.is_empty() {
            return Err(vec![format!(
                "`rope_parameters` has {}: in this family it has `full_attention` and `sliding_attention`, an object \
                 for each",
                and(&others)
            )]);
        }
        let takes = Takes { linear: true, ..Takes::default() };
        let mut problems = Vec::new();
        let both = [0, 1].map(|kind| {
            let own = parameters.get(KINDS_OF_BLOCKS[kind]);
            let given = [("rope_scaling", scaling[kind]), (OF_BLOCKS[kind], own)];
            let parsed = Self::parsed(Some(thetas[kind]), given, takes);
            parsed.map_or_else(
                |found| {
                    problems.extend(found);
                    Self::default()
                },
                |(config, _)| config,
            )
        });
        problems.dedup();
        if problems.is_empty() { Ok(both) } else { Err(problems) }
    }

    fn parsed(
        theta: Option<f64>,
        given: Given<'_>,
        takes: Takes,
    ) -> Result<(Self, Option<f64>), Vec<String>> {
        let (name, map) = settings(given).map_err(|problem| vec![problem])?;
        if map.values().any(Value::is_object) {
            return Err(vec![format!("`{name}` differs from layer to layer: not supported")]);
        }
        let mut reader = Reader { name, map: &map, problems: Vec::new(), takes };
        let theta = match map.contains_key("rope_theta") {
            true => reader.positive("rope_theta"),
            false => theta.unwrap_or(10_000.0),
        };
        if theta.is_nan() || theta <= 0.0 {
            reader.problems.push(format!("`rope_theta` is {theta}: it must be positive"));
        }
        let share = map
            .contains_key("partial_rotary_factor")
            .then(|| reader.positive("partial_rotary_factor"));
        if !takes.share && share.is_some_and(|share| share != 1.0) {
            reader.problems.push(format!("`{name}.partial_rotary_factor`: only 1 is supported"));
        }
        let scaling = match map.get("rope_type") {
            None => {
                reader.no_other_keys(&[], "without a `rope_type`");
                None
            }
            Some(Value::String(kind)) if kind == "default" => {
                reader.no_other_keys(&[], "with `rope_type` \"default\"");
                None
            }
            Some(Value::String(kind)) if kind == "linear" && takes.linear => {
                reader.no_other_keys(&LLAMA3[..1], "with `rope_type` \"linear\"");
                Some(RopeScaling::Linear { factor: reader.positive("factor") })
            }
            Some(Value::String(kind)) if kind == "llama3" => {
                reader.no_other_keys(&LLAMA3, "with `rope_type` \"llama3\"");
                Some(RopeScaling::Llama3 {
                    factor: reader.positive("factor"),
                    low_freq_factor: reader.positive("low_freq_factor"),
                    high_freq_factor: reader.positive("high_freq_factor"),
                    original_max_position_embeddings: reader
                        .positive("original_max_position_embeddings"),
                })
            }
            Some(other) => {
                reader.problems.push(format!("`{name}.rope_type` is {other}: {}", takes.kinds()));
                None
            }
        };
        if let Some(RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. }) = scaling
            && high_freq_factor <= low_freq_factor
        {
            reader.problems.push(format!(
                "`{name}.high_freq_factor` ({high_freq_factor}) must be above `low_freq_factor` \
                 ({low_freq_factor})"
            ));
        }
        match reader.problems.is_empty() {
            true => Ok((Self { theta, scaling }, share)),
            false => Err(reader.problems),
        }
    }
}

/// How many numbers of a head turn, of which `share` is to: transformers rounds down.
///
/// # Errors
///
/// A number that has no pairs.
pub(crate) fn turned(head_dim: usize, share: f64) -> Result<usize, Vec<String>> {
    let turned = (head_dim as f64 * share) as usize;
    match turned {
        2.. if turned <= head_dim && turned.is_multiple_of(2) => Ok(turned),
        _ => Err(vec![format!(
            "rotary positions turn {share} of a head of {head_dim} numbers, which is {turned} of them: an even number \
             of 2 to {head_dim} is needed"
        )]),
    }
}

fn given<'a>(scaling: Option<&'a Value>, parameters: Option<&'a Value>) -> Given<'a> {
    [("rope_scaling", scaling), ("rope_parameters", parameters)]
}

/// The settings and the key that they stand under. What is null is not there, and the oldest files' `type` is the
/// `rope_type`.
fn settings(
    [(old, scaling), (new, parameters)]: Given<'_>,
) -> Result<(&'static str, Map<String, Value>), String> {
    let parameters = read(new, parameters)?;
    let scaling = read(old, scaling)?;
    match (parameters, scaling) {
        (Some(parameters), Some(scaling)) => {
            let all_but_theta = |map: &Map<String, Value>| {
                let mut map = map.clone();
                map.retain(|key, _| key != "rope_theta");
                map
            };
            match all_but_theta(&parameters) == all_but_theta(&scaling) {
                true => Ok((new, parameters)),
                false => Err(format!(
                    "`{new}` and `{old}` say different things: keep the one that the model was trained with"
                )),
            }
        }
        (Some(parameters), None) => Ok((new, parameters)),
        (None, scaling) => Ok((old, scaling.unwrap_or_default())),
    }
}

fn read(name: &'static str, value: Option<&Value>) -> Result<Option<Map<String, Value>>, String> {
    let map = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(format!("`{name}` is {other}: an object is needed")),
    };
    let mut map = map.clone();
    map.retain(|_, value| !value.is_null());
    if let Some(old) = map.remove("type") {
        match map.get("rope_type") {
            Some(new) if *new != old => {
                return Err(format!("`{name}` has `type` {old} and `rope_type` {new}: keep one"));
            }
            _ => map.insert("rope_type".to_owned(), old),
        };
    }
    Ok((!map.is_empty()).then_some(map))
}

struct Reader<'a> {
    name: &'static str,
    map: &'a Map<String, Value>,
    problems: Vec<String>,
    takes: Takes,
}

impl Reader<'_> {
    fn positive(&mut self, key: &str) -> f64 {
        match self.map.get(key).map(|value| (value, value.as_f64())) {
            Some((_, Some(value))) if value > 0.0 => return value,
            Some((value, _)) => self
                .problems
                .push(format!("`{}.{key}` is {value}: a positive number is needed", self.name)),
            None => self.problems.push(format!("`{}.{key}` is missing", self.name)),
        }
        1.0
    }

    /// Refuses keys that are neither common to all kinds nor among those of this one.
    fn no_other_keys(&mut self, own: &[&str], kind: &str) {
        let known = |key: &&String| COMMON.contains(&key.as_str()) || own.contains(&key.as_str());
        let others: Vec<&String> = self.map.keys().filter(|key| !known(key)).collect();
        if others.is_empty() {
            return;
        }
        let near = others.iter().find_map(|key| {
            let wanted = COMMON.iter().chain(own).filter(|name| !self.map.contains_key(**name));
            nearest(key, wanted).map(|near| format!(" (did you mean `{near}`?)"))
        });
        let (name, keys, kinds) = (self.name, and(&others), self.takes.kinds());
        self.problems.push(format!(
            "`{name}` has {keys}{}, of no meaning {kind}: {kinds}",
            near.unwrap_or_default()
        ));
    }
}
