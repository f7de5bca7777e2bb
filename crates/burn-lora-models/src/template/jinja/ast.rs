//! What a template says, as a tree.
//!
//! Chains of one kind (`a + b - c`, `x|f|g`, `elif` after `elif`) are lists and not nests, so that the tree is no deeper than its source
//! has brackets and blocks.

use super::text::Text;

/// A template.
#[derive(Debug)]
pub(in crate::template) struct Program {
    pub(super) body: Vec<Statement>,
    pub(super) macros: Vec<Macro>,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Data(Text),
    Print(Expression),
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    For(Box<For>),
    Set(Target, Expression),
    /// What is written within becomes the value, through the filters.
    SetBlock {
        target: Target,
        filters: Vec<Postfix>,
        body: Vec<Statement>,
    },
    FilterBlock {
        filters: Vec<Postfix>,
        body: Vec<Statement>,
    },
    With(Vec<(Target, Expression)>, Vec<Statement>),
    /// A scope of its own, and nothing else: `generation`, `autoescape`.
    Scope(Vec<Statement>),
    /// A scope that sees the template's own variables only.
    Block(Vec<Statement>),
    /// By its number in the program.
    Macro(usize),
    Call {
        macro_of_body: usize,
        call: Expression,
    },
    Do(Expression),
    Break,
    Continue,
    /// `include`, `import`, `extends`.
    Include,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) over: Expression,
    pub(super) condition: Option<Expression>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Statement>,
    pub(super) otherwise: Vec<Statement>,
}

/// What a value is put into.
#[derive(Debug)]
pub(super) enum Target {
    Name(Text),
    Attribute(Text, Text),
    Several(Vec<Target>),
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Text,
    /// Names, with what they are if they are not given.
    pub(super) parameters: Vec<(Text, Option<Expression>)>,
    pub(super) body: Vec<Statement>,
    /// Whether the body names what is given beyond the parameters.
    pub(super) takes_more: bool,
    pub(super) takes_more_named: bool,
}

#[derive(Debug)]
pub(super) enum Expression {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Text),
    Name(Text),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    /// What is done with a value, one after the other.
    Postfix(Box<Expression>, Vec<Postfix>),
    /// Signs before a number; true for minus.
    Signs(Vec<bool>, Box<Expression>),
    Not {
        odd: bool,
        of: Box<Expression>,
    },
    And(Vec<Expression>),
    Or(Vec<Expression>),
    /// `a < b <= c`.
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    /// `a + b - c`, from left to right.
    Chain(Box<Expression>, Vec<(Operator, Expression)>),
    Concat(Vec<Expression>),
    /// `a if b else c if d else e`: pairs of value and condition.
    Choose(Vec<(Expression, Expression)>, Option<Box<Expression>>),
}

#[derive(Debug)]
pub(super) struct Postfix {
    pub(super) line: usize,
    pub(super) kind: Post,
}

#[derive(Debug)]
pub(super) enum Post {
    Attribute(Text),
    Item(Expression),
    Slice([Option<Box<Expression>>; 3]),
    Call(Arguments),
    Filter(Text, Arguments),
    Test { name: Text, arguments: Arguments, negated: bool },
}

/// What stands in the brackets of a call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expression>,
    pub(super) named: Vec<(Text, Expression)>,
    /// `*values`
    pub(super) more: Option<Box<Expression>>,
    /// `**values`
    pub(super) more_named: Option<Box<Expression>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Different,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

impl Operator {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}
