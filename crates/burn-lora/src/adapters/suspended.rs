//! Factors while they are merged: not trained, and known again.
//!
//! A merged weight holds for the factors that it was made of. Burn's records bring factors with the
//! identities that they were saved with, so factors get fresh identities for as long as they are merged:
//! one that has another identity by then is another one, whatever its values, and the merged weight does
//! not hold any more.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use super::is_trained;
use crate::Adapter;

/// A factor while it is merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspended {
    /// Its identity meanwhile.
    id: ParamId,
    /// Its own.
    before: ParamId,
    /// Whether it is trained.
    trained: bool,
}

/// The adapters with fresh identities and without gradients, and how to undo it.
pub(super) fn suspend(adapters: Vec<Adapter>) -> (Vec<Adapter>, Vec<Suspended>) {
    struct Suspend(Vec<Suspended>);
    impl ModuleMapper for Suspend {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let trained = is_trained(&param);
            let mut suspended = param.set_require_grad(false);
            let before = std::mem::replace(&mut suspended.id, ParamId::new());
            self.0.push(Suspended { id: suspended.id, before, trained });
            suspended
        }
    }
    let mut suspend = Suspend(Vec::new());
    let adapters = adapters.map(&mut suspend);
    (adapters, suspend.0)
}

/// What [`suspend`] was given. A factor that came from elsewhere meanwhile keeps its identity.
pub(super) fn resume(adapters: Vec<Adapter>, suspended: Vec<Suspended>) -> Vec<Adapter> {
    struct Resume(std::vec::IntoIter<Suspended>);
    impl ModuleMapper for Resume {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(Suspended { id, before, trained }) = self.0.next() else { return param };
            let mut resumed = param.set_require_grad(trained);
            if resumed.id == id {
                resumed.id = before;
            }
            resumed
        }
    }
    if suspended.is_empty() {
        return adapters;
    }
    adapters.map(&mut Resume(suspended.into_iter()))
}

/// Whether the factors are those that were suspended.
pub(super) fn still_there(adapters: &Vec<Adapter>, suspended: &[Suspended]) -> bool {
    struct Compare<'a> {
        suspended: std::slice::Iter<'a, Suspended>,
        same: bool,
    }
    impl ModuleVisitor for Compare<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.same &= self.suspended.next().is_some_and(|it| it.id == param.id);
        }
    }
    let mut compare = Compare { suspended: suspended.iter(), same: true };
    adapters.visit(&mut compare);
    compare.same && compare.suspended.next().is_none()
}
