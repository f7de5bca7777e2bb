//! Runs a template: statements here, expressions, calls and loops in their files.

mod call;
mod expression;
mod loops;

use super::ast::{Kind, Program, Statement, Target};
use super::fault::{Cause, Fault, failed};
use super::meter;
use super::print;
use super::text::{Text, TextMaker};
use super::value::{Function, Kind as ObjectKind, Value};
use crate::template::limits::Limits;
use loops::Loop;

/// Names with their values.
pub(in crate::template) type Scope = Vec<(Text, Value)>;

/// What a name takes in a scope.
const NAMED: usize = size_of::<(Text, Value)>();

impl Program {
    /// What the template writes with these variables.
    pub(in crate::template) fn render(
        &self,
        variables: &Scope,
        time: Option<i64>,
        limits: Limits,
    ) -> Result<String, Fault> {
        meter::start(limits);
        let mut run = Run {
            program: self,
            variables,
            time,
            scopes: vec![Scope::new()],
            base: 0,
            objects: Vec::new(),
            held: 0,
            loops: Vec::new(),
            loops_begun: 0,
            loop_name: Text::given("loop"),
        };
        let mut out = TextMaker::output();
        run.body(&self.body, &mut out)?;
        Ok(out.into_output())
    }
}

/// A rendering.
struct Run<'a> {
    program: &'a Program,
    variables: &'a Scope,
    /// Seconds since 1970.
    time: Option<i64>,
    /// The template's own first, the innermost last.
    scopes: Vec<Scope>,
    /// The first scope that the macro which runs can see, beside the template's own.
    base: usize,
    /// What changes; kept to the end, so that nothing that refers to another is freed before it.
    objects: Vec<Object>,
    /// Bytes that the objects were given.
    held: usize,
    loops: Vec<Loop<'a>>,
    loops_begun: usize,
    loop_name: Text,
}

enum Object {
    Namespace(Scope),
    Macro { number: usize, captured: Scope },
    Joiner { between: Value, used: bool },
    Cycler { items: Vec<Value>, at: usize },
}

/// How a statement ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'a> Run<'a> {
    fn body(&mut self, body: &'a [Statement], out: &mut TextMaker) -> Result<Flow, Fault> {
        let _deeper = meter::deeper()?;
        for statement in body {
            meter::step()?;
            let flow = self.statement(&statement.kind, out);
            let flow = flow.map_err(|fault| fault.at(statement.line))?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, kind: &'a Kind, out: &mut TextMaker) -> Result<Flow, Fault> {
        match kind {
            Kind::Data(text) => out.push(text)?,
            Kind::Print(value) => print::write(&self.value(value)?, out)?,
            Kind::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.value(condition)?.is_true() {
                        return self.body(body, out);
                    }
                }
                return self.body(otherwise, out);
            }
            Kind::For(node) => {
                let over = self.value(&node.over)?;
                self.for_loop(node, &over, 0, out)?;
            }
            Kind::Set(target, value) => {
                let value = self.value(value)?;
                self.assign(target, value)?;
            }
            Kind::SetBlock { target, filters, body } => {
                let (value, flow) = self.captured(body)?;
                if flow != Flow::On {
                    return Ok(flow);
                }
                let value = self.steps(value, filters)?;
                self.assign(target, value)?;
            }
            Kind::FilterBlock { filters, body } => {
                let (value, flow) = self.captured(body)?;
                if flow != Flow::On {
                    return Ok(flow);
                }
                print::write(&self.steps(value, filters)?, out)?;
            }
            Kind::With(variables, body) => {
                // All of them are what they are outside.
                let mut values = Vec::with_capacity(variables.len());
                for (target, value) in variables {
                    values.push((target, self.value(value)?));
                }
                return self.scope(|run| {
                    for (target, value) in values {
                        run.assign(target, value)?;
                    }
                    run.body(body, out)
                });
            }
            Kind::Scope(body) => return self.scope(|run| run.body(body, out)),
            Kind::Block(body) => {
                let base = std::mem::replace(&mut self.base, self.scopes.len());
                let done = self.scope(|run| run.body(body, out));
                self.base = base;
                done?;
            }
            Kind::Macro(number) => {
                let value = self.closure(*number)?;
                let name = self.program.macros[*number].name.clone();
                self.declare(name, value)?;
            }
            Kind::Call { macro_of_body, call } => {
                let caller = self.closure(*macro_of_body)?;
                print::write(&self.call_with(call, caller)?, out)?;
            }
            Kind::Do(value) => drop(self.value(value)?),
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
            Kind::Include => return Err(Cause::Include.into()),
        }
        Ok(Flow::On)
    }

    /// What is written in a scope of its own, as a text, and how that ends.
    fn captured(&mut self, body: &'a [Statement]) -> Result<(Value, Flow), Fault> {
        let mut inner = TextMaker::new();
        let flow = self.scope(|run| run.body(body, &mut inner))?;
        Ok((inner.value()?, flow))
    }

    fn scope<T>(&mut self, within: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.scopes.push(Scope::new());
        let result = within(self);
        self.scopes.pop();
        result
    }

    fn assign(&mut self, target: &Target, value: Value) -> Result<(), Fault> {
        match target {
            Target::Name(name) => self.declare(name.clone(), value),
            Target::Several(targets) => {
                let items = value.items()?;
                if items.items.len() != targets.len() {
                    return failed(format!(
                        "{} values cannot be put into {} names",
                        items.items.len(),
                        targets.len()
                    ));
                }
                for (target, item) in targets.iter().zip(&items.items) {
                    self.assign(target, item.clone())?;
                }
                Ok(())
            }
            Target::Attribute(name, attribute) => match self.lookup(name)? {
                Value::Object(ObjectKind::Namespace, at) => {
                    self.keep(NAMED)?;
                    match &mut self.objects[at] {
                        Object::Namespace(scope) => put(scope, attribute.clone(), value),
                        _ => failed("what is no namespace has no attributes to set"),
                    }
                }
                other => failed(format!(
                    "only a namespace has attributes that can be set, and `{}` is {}",
                    &**name,
                    other.kind()
                )),
            },
        }
    }

    /// Puts a value at a name in the innermost scope.
    fn declare(&mut self, name: Text, value: Value) -> Result<(), Fault> {
        match self.scopes.last_mut() {
            Some(scope) => put(scope, name, value),
            None => Ok(()),
        }
    }

    /// What a name stands for.
    fn lookup(&self, name: &Text) -> Result<Value, Fault> {
        let scopes = self.scopes[self.base..].iter().rev().chain(self.scopes.first());
        meter::steps((self.scopes.len() - self.base) / 8)?;
        for scope in scopes.chain(std::iter::once(self.variables)) {
            if let Some(at) = place(scope, name)? {
                return Ok(scope[at].1.clone());
            }
        }
        Ok(match Function::named(name) {
            Some(Function::StrftimeNow) if self.time.is_none() => Value::Undefined(name.clone()),
            Some(function) => Value::Function(function),
            // The blocks of the template, which cannot be asked for here.
            None if &**name == "self" => Value::given_object(&serde_json::Map::new()),
            None => Value::Undefined(name.clone()),
        })
    }

    /// An object, by its number.
    fn object(&mut self, kind: ObjectKind, object: Object, items: usize) -> Result<Value, Fault> {
        self.keep(size_of::<Object>() + items * NAMED)?;
        self.objects.push(object);
        Ok(Value::Object(kind, self.objects.len() - 1))
    }

    /// Room that is needed to the end.
    fn keep(&mut self, bytes: usize) -> Result<(), Fault> {
        meter::hold(bytes)?;
        self.held += bytes;
        Ok(())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        meter::release(self.held);
    }
}

/// Puts a value at a name, in the place of one that is there.
fn put(scope: &mut Scope, name: Text, value: Value) -> Result<(), Fault> {
    match place(scope, &name)? {
        Some(at) => scope[at].1 = value,
        None => scope.push((name, value)),
    }
    Ok(())
}

/// Where a name stands in a scope; the last one counts.
fn place(scope: &Scope, name: &Text) -> Result<Option<usize>, Fault> {
    meter::steps(scope.len() / 8)?;
    Ok(scope.iter().rposition(|(known, _)| known.is(name) || **known == **name))
}
