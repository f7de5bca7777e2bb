//! Between what a model is patched with and what PEFT's files say.

use burn_lora::{AdapterConfig, Init, Method};
use burn_lora_text::listed;
use serde_json::{Map, Value};

use super::config::{Modules, OneOrMany, PeftConfig};
use crate::config::{Bias, LoraConfig, TaskType};
use crate::eva::EvaConfig;
use crate::pattern::escaped;
use crate::settings::Patterns;
use crate::targets::{ALL_LINEAR, Targets};
use crate::tokens::TokenIndices;

/// What PEFT's configuration says to patch a model with, and what was passed over.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoadedConfig {
    /// What to patch a model with.
    pub config: LoraConfig,
    /// What was passed over, such as keys of other versions.
    pub warnings: Vec<String>,
}

impl PeftConfig {
    /// The configuration that PEFT would write for a model patched with `config`.
    ///
    /// Targets are written as they stand; [`save`](super::save) replaces what PEFT would not
    /// resolve to the same layers by their names. Where the initialisation moves the base, it is that of the adapter as
    /// it is written ([`AdapterConfig::written`]): of twice the rank.
    pub fn new(config: &LoraConfig) -> Self {
        let exclude = match (&config.exclude_regex, config.exclude.is_empty()) {
            (None, true) => None,
            (None, false) => Some(Modules::Names(config.exclude.clone())),
            (Some(pattern), true) => Some(Modules::Pattern(pattern.clone())),
            (Some(pattern), false) => {
                // PEFT takes names or a pattern: names become the pattern that matches the same.
                let names: Vec<String> = config.exclude.iter().map(|name| escaped(name)).collect();
                Some(Modules::Pattern(format!(r"(?:.*\.)?(?:{})|(?:{pattern})", names.join("|"))))
            }
        };
        let mut modules_to_save = config.modules_to_save.clone();
        for head in config.task_heads() {
            if !modules_to_save.contains(&head) {
                modules_to_save.push(head);
            }
        }
        let adapter = config.adapter.written();
        let method = adapter.method;
        let mut file = Self {
            base_model_name_or_path: config.base_model.clone(),
            bias: bias_word(method.peft_type(), config.bias).to_owned(),
            ensure_weight_tying: config.ensure_weight_tying,
            exclude_modules: exclude,
            init_lora_weights: match adapter.init {
                // PEFT's word is for a base that was written anew.
                Init::Kaiming | Init::Loftq => Value::Bool(true),
                init => Value::String(init.to_string()),
            },
            eva_config: match adapter.init {
                Init::Eva => eva_config(&config.eva),
                _ => Value::Null,
            },
            layers_pattern: (!config.layers_pattern.is_empty())
                .then(|| OneOrMany::Many(config.layers_pattern.clone())),
            layers_to_transform: config.layers_to_transform.clone().map(OneOrMany::Many),
            lora_dropout: adapter.dropout,
            mini_r: (method == Method::Miss).then_some(1),
            modules_to_save: (!modules_to_save.is_empty()).then_some(modules_to_save),
            peft_type: method.peft_type().to_owned(),
            r: adapter.rank,
            target_modules: Some(match &config.targets {
                Targets::AllLinear => Modules::Pattern(ALL_LINEAR.to_owned()),
                Targets::Names(names) => Modules::Names(names.clone()),
                Targets::Regex(pattern) => Modules::Pattern(pattern.clone()),
            }),
            target_parameters: (!config.target_parameters.is_empty())
                .then(|| config.target_parameters.clone()),
            task_type: config.task_type.map(|task| task.as_str().to_owned()),
            trainable_token_indices: config.trainable_token_indices.to_value(),
            ..Self::default()
        };
        if method.scaled() {
            file.lora_alpha = adapter.alpha;
            file.use_rslora = adapter.rslora;
        }
        let of_rank = |rank| {
            let mut layer = config.adapter.clone();
            layer.rank = rank;
            layer.written().rank
        };
        let of_alpha = |alpha: f64| config.adapter.clone().with_alpha(alpha).written().alpha;
        file.rank_pattern = written(&config.rank_pattern.map(of_rank), |rank| rank.into());
        file.alpha_pattern = written(&config.alpha_pattern.map(of_alpha), whole_or_not);
        if let Some(key) = method.switch() {
            file.switch_on(key);
        }
        file
    }

    /// Sets the base model's name or path.
    pub fn with_base_model(mut self, name: impl Into<String>) -> Self {
        self.base_model_name_or_path = Some(name.into());
        self
    }

    /// Says whether the base's files store the adapted weights `[d_in, d_out]` (transformers' `Conv1D`).
    ///
    /// Nothing here depends on it: a weight is `[d_in, d_out]` once it is read, and the factors' files have
    /// one layout. PEFT wants to be told.
    pub fn with_fan_in_fan_out(mut self, fan_in_fan_out: bool) -> Self {
        self.fan_in_fan_out = fan_in_fan_out;
        self
    }

    /// What to patch a model with, so that it gets what this configuration describes.
    ///
    /// # Errors
    ///
    /// Every setting that is not supported yet, with its value.
    pub fn to_config(&self) -> Result<LoadedConfig, Vec<String>> {
        let mut unsupported = self.unsupported();
        let task_type = match self.task_type.as_deref() {
            None => None,
            Some(text) => {
                let task = TaskType::parse(text);
                if task.is_none() {
                    let known: Vec<&str> = TaskType::ALL.iter().map(|task| task.as_str()).collect();
                    unsupported
                        .push(format!("task_type = \"{text}\" (there are {})", known.join(", ")));
                }
                task
            }
        };
        let targets = match &self.target_modules {
            None if self.target_parameters.is_some() => Targets::Names(Vec::new()),
            None => {
                unsupported.push("target_modules = null (name the modules)".to_owned());
                Targets::AllLinear
            }
            Some(Modules::Pattern(text)) if text.eq_ignore_ascii_case(ALL_LINEAR) => {
                Targets::AllLinear
            }
            Some(Modules::Pattern(pattern)) => Targets::Regex(pattern.clone()),
            Some(Modules::Names(names)) => Targets::Names(names.clone()),
        };
        let words = Bias::ALL.map(|bias| (bias_word(&self.peft_type, bias), bias));
        let bias = words.iter().find(|(word, _)| *word == self.bias).map(|(_, bias)| *bias);
        if bias.is_none() {
            let known = words.map(|(word, _)| word).join(", ");
            unsupported.push(format!("bias = {:?} (there are {known})", self.bias));
        }
        let rank = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let ranks = read("rank_pattern", &self.rank_pattern, rank, &mut unsupported);
        let alphas = read("alpha_pattern", &self.alpha_pattern, Value::as_f64, &mut unsupported);
        let tokens = TokenIndices::of_value(&self.trainable_token_indices);
        if tokens.is_none() {
            unsupported.push(format!(
                "trainable_token_indices = {} (a list of tokens, or such lists by the name of an embedding)",
                self.trainable_token_indices
            ));
        }
        let method = self.method().unwrap_or_else(|problem| {
            unsupported.push(problem);
            Method::default()
        });
        if !unsupported.is_empty() {
            return Err(unsupported);
        }
        let init = match &self.init_lora_weights {
            Value::String(name) => name.to_lowercase().parse().unwrap_or_default(),
            _ => Init::default(),
        };
        let automatic = task_type.map_or(&[][..], |task| task.heads());
        let (exclude, exclude_regex) = match self.exclude_modules.clone() {
            None => (Vec::new(), None),
            Some(Modules::Names(names)) => (names, None),
            Some(Modules::Pattern(pattern)) => (Vec::new(), Some(pattern)),
        };
        let mut adapter = AdapterConfig::new(self.r)
            .with_method(method)
            .with_dropout(self.lora_dropout)
            .with_init(init);
        if method.scaled() {
            adapter = adapter.with_alpha(self.lora_alpha).with_rslora(self.use_rslora);
        }
        let mut config = LoraConfig::from(adapter).with_targets(targets);
        config.eva = read_eva(&self.eva_config);
        config.rank_pattern = ranks;
        config.alpha_pattern = alphas;
        config.target_parameters = self.target_parameters.clone().unwrap_or_default();
        config.exclude = exclude;
        config.exclude_regex = exclude_regex;
        config.layers_to_transform = self.layers_to_transform.as_ref().map(OneOrMany::to_vec);
        config.layers_pattern =
            self.layers_pattern.as_ref().map(OneOrMany::to_vec).unwrap_or_default();
        config.layers_pattern.retain(|pattern| !pattern.is_empty());
        config.modules_to_save = self
            .modules_to_save
            .iter()
            .flatten()
            .filter(|module| !automatic.contains(&module.as_str()))
            .cloned()
            .collect();
        config.trainable_token_indices = tokens.unwrap_or_default();
        config.ensure_weight_tying = self.ensure_weight_tying;
        config.bias = bias.unwrap_or_default();
        config.task_type = task_type;
        config.base_model = self.base_model_name_or_path.clone();
        Ok(LoadedConfig { config, warnings: self.passed_over().into_iter().collect() })
    }

    /// What is switched on and not known here, so that it has no effect, in one line; nothing where all is known.
    pub fn passed_over(&self) -> Option<String> {
        let on = self.unknown.iter().filter(|(_, value)| is_on(value));
        let keys: Vec<&str> = on.map(|(key, _)| key.as_str()).collect();
        (!keys.is_empty()).then(|| {
            format!(
                "adapter_config.json switches on what is not known here and has no effect: {}",
                listed(&keys)
            )
        })
    }

    /// The kind of adapter of the table.
    ///
    /// # Errors
    ///
    /// A switch that no kind has, or several.
    pub fn method(&self) -> Result<Method, String> {
        let switches: Vec<&str> = self.switches().collect();
        let of_switch = |switch: Option<&str>| {
            let mut of_type = Method::ALL.iter().filter(|it| it.peft_type() == self.peft_type);
            of_type.find(|method| method.switch() == switch).copied()
        };
        match switches.as_slice() {
            [] => of_switch(None).ok_or_else(|| format!("peft_type = {:?}", self.peft_type)),
            [only] => of_switch(Some(*only)).ok_or_else(|| format!("{only} = true")),
            several => Err(format!("{} = true: one kind at a time", several.join(" = true, "))),
        }
    }

    /// Every setting that changes what the adapter computes and is not supported yet.
    fn unsupported(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |name: &str, set: bool, value: &dyn std::fmt::Display, why: &str| {
            if set {
                found.push(format!("{name} = {value}{why}"));
            }
        };
        // Files of other types than LoRA's have no such adapters.
        let parameters = self.target_parameters.clone().unwrap_or_default();
        let other = !parameters.is_empty() && self.is_miss();
        check("target_parameters", other, &Value::from(parameters), "");
        let values = [
            ("layer_replication", &self.layer_replication),
            ("alora_invocation_tokens", &self.alora_invocation_tokens),
            ("arrow_config", &self.arrow_config),
            ("kasa_config", &self.kasa_config),
            ("monteclora_config", &self.monteclora_config),
            ("use_bdlora", &self.use_bdlora),
            ("velora_config", &self.velora_config),
        ];
        for (name, value) in values {
            check(name, is_on(value), value, "");
        }
        if self.is_miss() {
            let variant = self.init_lora_weights.is_string();
            let why = " (another variant of MiSS, whose block has another meaning)";
            check("init_weights", variant, &self.init_lora_weights, why);
        } else if let Value::String(init) = &self.init_lora_weights {
            // These subtract their start from the base weights, so the factors alone are not the change.
            let mutates = ["pissa", "olora", "corda", "loftq", "lora_ga"];
            check(
                "init_lora_weights",
                mutates.iter().any(|name| init.to_lowercase().starts_with(name)),
                &self.init_lora_weights,
                " (it changes the base: save with PEFT's path_initial_model_for_weight_conversion)",
            );
        }
        found
    }
}

/// PEFT's `EvaConfig`; here tokens without loss are left out by whoever gives the batches.
fn eva_config(eva: &EvaConfig) -> Value {
    let mut fields = Map::new();
    fields.insert("adjust_scaling_factors".to_owned(), eva.adjust_scaling_factors.into());
    fields.insert("label_mask_value".to_owned(), (-100).into());
    fields.insert("rho".to_owned(), eva.rho.into());
    fields.insert("tau".to_owned(), eva.tau.into());
    fields.insert("use_label_mask".to_owned(), true.into());
    fields.insert("whiten".to_owned(), eva.whiten.into());
    Value::Object(fields)
}

/// How ranks were dealt out, as far as the file says; nothing follows from it for an adapter that is there.
fn read_eva(value: &Value) -> EvaConfig {
    let default = EvaConfig::default();
    let flag = |key: &str, other: bool| value[key].as_bool().unwrap_or(other);
    EvaConfig {
        rho: value["rho"].as_f64().unwrap_or(default.rho),
        tau: value["tau"].as_f64().unwrap_or(default.tau),
        whiten: flag("whiten", default.whiten),
        adjust_scaling_factors: flag("adjust_scaling_factors", default.adjust_scaling_factors),
    }
}

/// Patterns as the file has them.
pub(super) fn written<T: Copy>(
    patterns: &Patterns<T>,
    value: impl Fn(T) -> Value,
) -> Map<String, Value> {
    patterns.iter().map(|(pattern, of)| (pattern.to_owned(), value(of))).collect()
}

/// A number that is whole as JSON has whole numbers.
pub(super) fn whole_or_not(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 9.0e15 {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

/// Patterns of the file; what is no value of theirs is added to what is unsupported.
fn read<T: Copy>(
    key: &str,
    patterns: &Map<String, Value>,
    value: impl Fn(&Value) -> Option<T>,
    unsupported: &mut Vec<String>,
) -> Patterns<T> {
    let entries = patterns.iter().filter_map(|(pattern, given)| {
        let read = value(given);
        if read.is_none() {
            unsupported.push(format!("{key} = {{{}: {given}}}", Value::from(pattern.as_str())));
        }
        Some((pattern.clone(), read?))
    });
    entries.collect()
}

/// PEFT's word for the biases that are trained, which is not the same for every kind.
fn bias_word(peft_type: &str, bias: Bias) -> &'static str {
    match bias {
        Bias::LoraOnly if peft_type == Method::Miss.peft_type() => "MiSS_only",
        bias => bias.name(),
    }
}

/// Whether a value switches something on.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}
