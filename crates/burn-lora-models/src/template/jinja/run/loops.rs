//! `for`, and the variable `loop`.

use std::rc::Rc;

use super::{Flow, Run};
use crate::template::jinja::arguments::Args;
use crate::template::jinja::ast::For;
use crate::template::jinja::compare;
use crate::template::jinja::fault::{Fault, failed};
use crate::template::jinja::meter;
use crate::template::jinja::text::{Text, TextMaker};
use crate::template::jinja::value::{Items, ListMaker, Value};

/// A loop that runs.
pub(super) struct Loop<'a> {
    number: usize,
    node: &'a For,
    items: Rc<Items>,
    at: usize,
    depth: usize,
    /// What `loop.changed` was given last.
    changed: Option<Value>,
}

impl<'a> Run<'a> {
    pub(super) fn for_loop(
        &mut self,
        node: &'a For,
        over: &Value,
        depth: usize,
        out: &mut TextMaker,
    ) -> Result<(), Fault> {
        let mut items = over.items()?;
        if node.condition.is_some() {
            items = self.kept(node, &items)?;
        }
        let number = self.loops_begun;
        self.loops_begun += 1;
        self.loops.push(Loop { number, node, items: items.clone(), at: 0, depth, changed: None });
        // What stands behind `else` is for loops of which no round comes to its end.
        let mut ended = false;
        for (at, item) in items.items.iter().enumerate() {
            meter::step()?;
            if let Some(this) = self.loops.last_mut() {
                this.at = at;
            }
            let flow = self.scope(|run| {
                let name = run.loop_name.clone();
                run.declare(name, Value::Loop(number))?;
                run.assign(&node.target, item.clone())?;
                run.body(&node.body, out)
            })?;
            ended |= flow == Flow::On;
            if flow == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        if !ended {
            self.scope(|run| run.body(&node.otherwise, out))?;
        }
        Ok(())
    }

    /// The items for which the condition of a loop holds.
    fn kept(&mut self, node: &'a For, items: &Items) -> Result<Rc<Items>, Fault> {
        let mut kept = ListMaker::new();
        for item in &items.items {
            let holds = self.scope(|run| {
                run.assign(&node.target, item.clone())?;
                match &node.condition {
                    Some(condition) => Ok(run.value(condition)?.is_true()),
                    None => Ok(true),
                }
            })?;
            if holds {
                kept.push(item.clone())?;
            }
        }
        kept.list()?.items()
    }

    fn running(&mut self, number: usize) -> Result<&mut Loop<'a>, Fault> {
        match self.loops.iter_mut().rev().find(|running| running.number == number) {
            Some(running) => Ok(running),
            None => failed("this loop is over"),
        }
    }

    /// `loop.name`.
    pub(super) fn loop_attribute(&mut self, number: usize, name: &Text) -> Result<Value, Fault> {
        meter::steps(self.loops.len() / 8)?;
        let running = self.running(number)?;
        let (at, length) = (running.at, running.items.items.len());
        let count = |count: usize| Value::Int(count as i128);
        let item = |at: Option<usize>| {
            let item = at.and_then(|at| running.items.items.get(at)).cloned();
            item.unwrap_or_else(|| Value::Undefined(name.clone()))
        };
        Ok(match &**name {
            "index" => count(at + 1),
            "index0" => count(at),
            "revindex" => count(length - at),
            "revindex0" => count(length - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == length),
            "length" => count(length),
            "depth" => count(running.depth + 1),
            "depth0" => count(running.depth),
            "previtem" => item(at.checked_sub(1)),
            "nextitem" => item(Some(at + 1)),
            _ => Value::Undefined(name.clone()),
        })
    }

    /// `loop.cycle(…)`, `loop.changed(…)`; `None` if there is no such method.
    pub(super) fn loop_method(
        &mut self,
        number: usize,
        name: &str,
        args: &Args,
    ) -> Result<Option<Value>, Fault> {
        let running = self.running(number)?;
        match name {
            "cycle" => match args.positional.get(running.at % args.positional.len().max(1)) {
                Some(value) => Ok(Some(value.clone())),
                None => failed("loop.cycle: nothing to cycle through"),
            },
            "changed" => {
                let mut values = ListMaker::new();
                values.extend(&args.positional)?;
                let values = values.tuple()?;
                let running = self.running(number)?;
                let same = match &running.changed {
                    Some(before) => compare::equal(before, &values)?,
                    None => false,
                };
                running.changed = Some(values);
                Ok(Some(Value::Bool(!same)))
            }
            _ => Ok(None),
        }
    }

    /// `loop(items)` in a recursive loop.
    pub(super) fn recurse(&mut self, number: usize, args: Args) -> Result<Value, Fault> {
        let running = self.running(number)?;
        let (node, depth) = (running.node, running.depth + 1);
        if !node.recursive {
            return failed("only a loop with `recursive` can be called");
        }
        let [over] = args.bind("loop", ["iterable"])?;
        let Some(over) = over else { return failed("loop: `iterable` is missing") };
        let _deeper = meter::deeper()?;
        let mut out = TextMaker::new();
        self.for_loop(node, &over, depth, &mut out)?;
        out.value()
    }
}
