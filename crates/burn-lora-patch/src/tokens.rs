//! Rows of embeddings that are trained beside an adapter: PEFT's `trainable_token_indices`.
//!
//! They are said of the table that token ids go into, or of tables by name, and hang on the table as an
//! [`Adapter`](burn_lora::Adapter) of rows. A head that is the table follows them, as in PEFT, whatever
//! `ensure_weight_tying` says.
//!
//! A head that is a layer of its own has rows, too, which PEFT trains apart from the table's: they are said by its name.
//!
//! Left out: rows of a table that the adapter is on, which PEFT's adapter then does nothing to, and rows of other linear
//! layers.

use std::collections::BTreeMap;

use burn_lora::Adapter;
use burn_lora_text::nearest_ends;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{HEAD, LoraConfig};
use crate::error::{Role, TargetProblem};
use crate::path::{is_named, last_segments};
use crate::scan::{LinearLayer, Scan};

/// Tokens whose rows are trained.
///
/// ```
/// use burn_lora_patch::TokenIndices;
///
/// let tokens = TokenIndices::from([5, 17]);
/// assert_eq!(serde_json::to_string(&tokens)?, "[5,17]");
/// let named = TokenIndices::from_iter([("embed_tokens", vec![5, 17])]);
/// assert_eq!(serde_json::to_string(&named)?, r#"{"embed_tokens":[5,17]}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIndices {
    /// Of the table that token ids go into: the one called `embed_tokens`, or else the model's first.
    Table(Vec<usize>),
    /// By the name of a table, or of a head that is a layer of its own, which is its whole path or an ending of it.
    Named(BTreeMap<String, Vec<usize>>),
}

impl Default for TokenIndices {
    fn default() -> Self {
        Self::Table(Vec::new())
    }
}

impl<const N: usize> From<[usize; N]> for TokenIndices {
    fn from(tokens: [usize; N]) -> Self {
        Self::Table(tokens.into())
    }
}

impl From<Vec<usize>> for TokenIndices {
    fn from(tokens: Vec<usize>) -> Self {
        Self::Table(tokens)
    }
}

impl<S: Into<String>> FromIterator<(S, Vec<usize>)> for TokenIndices {
    fn from_iter<I: IntoIterator<Item = (S, Vec<usize>)>>(tables: I) -> Self {
        Self::Named(tables.into_iter().map(|(name, tokens)| (name.into(), tokens)).collect())
    }
}

impl TokenIndices {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Table(tokens) => tokens.is_empty(),
            Self::Named(tables) => tables.values().all(Vec::is_empty),
        }
    }

    /// As PEFT's files have them.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            _ if self.is_empty() => Value::Null,
            Self::Table(tokens) => tokens.clone().into(),
            Self::Named(tables) => {
                let tables = tables.iter().filter(|(_, tokens)| !tokens.is_empty());
                tables.map(|(name, tokens)| (name.clone(), Value::from(tokens.clone()))).collect()
            }
        }
    }

    /// What a file says; none where it says something else.
    pub(crate) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::default()),
            value => serde_json::from_value(value.clone()).ok(),
        }
    }
}

/// The name that Hugging Face's decoders give to the table of tokens; PEFT takes it where a model does not say which it is.
pub(crate) const TABLE: &str = "embed_tokens";

/// The table that token ids go into.
pub(crate) fn token_table(scan: &Scan) -> Option<&LinearLayer> {
    let called = scan.tables().iter().find(|table| is_named(&table.path, TABLE));
    called.or(scan.tables().first())
}

/// The token table, where it is the head too.
pub(crate) fn tied_table(scan: &Scan) -> Option<&LinearLayer> {
    token_table(scan).filter(|table| scan.is_tied(table))
}

/// What a configuration says of a model's tables.
#[derive(Debug, Default)]
pub(crate) struct Picked {
    /// The tokens of every table, and of every head of its own, of which rows are trained, by its path.
    pub(crate) tables: BTreeMap<String, Vec<usize>>,
    /// What cannot be.
    pub(crate) problems: Vec<TargetProblem>,
    /// Names of no table.
    pub(crate) unpicked: Vec<TargetProblem>,
}

/// The tokens of every table, by its path.
pub(crate) fn pick(scan: &Scan, config: &LoraConfig) -> Picked {
    let mut picked = Picked::default();
    let tokens = &config.trainable_token_indices;
    let method = config.adapter.method;
    if !tokens.is_empty() && !method.is_of_lora() {
        picked.problems.push(TargetProblem::TokensOfKind { method });
        return picked;
    }
    match tokens {
        TokenIndices::Table(tokens) if tokens.is_empty() => {}
        TokenIndices::Table(tokens) => match token_table(scan) {
            Some(table) => picked.add(table, tokens),
            None => picked.problems.push(TargetProblem::NoTable),
        },
        TokenIndices::Named(tables) => {
            for (name, tokens) in tables.iter().filter(|(_, tokens)| !tokens.is_empty()) {
                picked.named(scan, config, name, tokens);
            }
            picked.heads(scan, tables);
        }
    }
    picked
}

impl Picked {
    fn add(&mut self, table: &LinearLayer, tokens: &[usize]) {
        let problem = match self.tables.get(&table.path) {
            Some(other) if other != tokens => Some("two names of it have other tokens".to_owned()),
            _ => {
                let rows = if table.table { table.d_in } else { table.d_out };
                Adapter::check_tokens(tokens, rows).err().map(|error| error.to_string())
            }
        };
        match problem {
            Some(reason) => {
                let table = table.path.clone();
                self.problems.push(TargetProblem::Tokens { table, reason });
            }
            None => drop(self.tables.insert(table.path.clone(), tokens.to_vec())),
        }
    }

    fn named(&mut self, scan: &Scan, config: &LoraConfig, name: &str, tokens: &[usize]) {
        let is_head = |path: &str| config.heads.iter().any(|head| is_named(path, head));
        let heads = scan.linears().iter().filter(|linear| is_head(&linear.path));
        let tables: Vec<&LinearLayer> =
            scan.tables().iter().chain(heads).filter(|table| is_named(&table.path, name)).collect();
        for table in &tables {
            self.add(table, tokens);
        }
        if !tables.is_empty() || is_tied_head(scan, name) {
            return;
        }
        let linears = scan.linears().iter().map(|linear| linear.path.as_str());
        let mut others = linears.chain(scan.modules().keys().map(String::as_str));
        let problem = match others.find(|path| is_named(path, name)) {
            Some(path) => TargetProblem::NotTable { entry: name.to_owned(), path: path.to_owned() },
            None => {
                let tables = || scan.tables().iter().map(|table| table.path.as_str());
                TargetProblem::Unknown {
                    role: Role::Tokens,
                    entry: name.to_owned(),
                    nearest: nearest_ends(name, tables()),
                    existing: last_segments(tables()),
                }
            }
        };
        self.unpicked.push(problem);
    }

    /// A head that is the table follows it, and may be named beside it with the same tokens.
    fn heads(&mut self, scan: &Scan, named: &BTreeMap<String, Vec<usize>>) {
        let heads = named.iter().filter(|(name, tokens)| {
            let is_table = scan.tables().iter().any(|table| is_named(&table.path, name));
            !is_table && !tokens.is_empty() && is_tied_head(scan, name)
        });
        for (head, tokens) in heads {
            if !self.tables.values().any(|of_table| of_table == tokens) {
                self.problems.push(TargetProblem::TokensOfHead { head: head.clone() });
            }
        }
    }
}

/// Whether a name is that of a head of which the model has none, since its token table is the head.
pub(crate) fn is_tied_head(scan: &Scan, name: &str) -> bool {
    let own = |name: &str| scan.linears().iter().any(|linear| is_named(&linear.path, name));
    is_named(name, HEAD) && !own(name) && scan.tables().iter().any(|table| scan.is_tied(table))
}
