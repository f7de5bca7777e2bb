//! A Jinja engine for chat templates that come from strangers.
//!
//! Templates are small programs that anyone may have written. MiniJinja bounds instructions and recursion, but its operators, its literals
//! and its parser cannot be bounded from outside: one step repeats a text or a list without end, and a chain of operators overflows the
//! stack while it is read. So templates are run here, and the limits are a property of how values come into being, not a list of what to
//! look out for:
//!
//! - **Memory.** A text, a list or a dictionary is made by a maker ([`text::TextMaker`], [`value::ListMaker`], [`value::DictMaker`]) and in
//!   no other way, and a maker asks [`meter`] for the bytes before it grows; they are given back when the value is freed. So what is alive
//!   at one time has a bound, whatever made it.
//! - **Time.** Every part of the tree that is evaluated, every item and every few bytes that are read or made are steps, which are counted: as
//!   many as what is done with them takes ([`meter`]).
//! - **Stack.** Chains are lists in the tree ([`ast`]), so that it is as deep as brackets and blocks stand in each other, which the parser
//!   bounds; evaluation counts its levels; values know their own depth and are not nested beyond a bound; and what could refer to itself is
//!   kept by the rendering and named by number.
//!
//! What is followed is Jinja 3.1 in the sandbox that transformers sets up: `trim_blocks`, `lstrip_blocks`, loop controls, no escaping,
//! nothing that changes a list or a dictionary.
//!
//! Left out: other templates (`include`, `import`, `extends`), the views and iterators of Python, which are
//! lists here, whole numbers of more than 128 bits, `wordwrap`, `urlize`, `filesizeformat`, `pprint` and `random`.

mod access;
mod arguments;
mod ast;
mod checks;
mod compare;
mod fault;
mod filters;
mod format;
mod json;
mod lexer;
mod meter;
mod methods;
mod operators;
mod parser;
mod print;
mod run;
mod text;
mod value;

pub(super) use ast::Program;
pub(super) use fault::{Cause, Fault};
pub(super) use run::Scope;
pub(super) use text::Text;
pub(super) use value::Value;
