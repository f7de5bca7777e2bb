//! Several of what an operation takes or gives, which Burn's derive has for structs and enums alone.

use burn::backend::{
    Backend, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    ExtensionType,
};

/// A list.
#[derive(Debug, Clone)]
pub struct Several<T>(pub Vec<T>);

impl<B: Backend, T: ExtensionType<B>> ExtensionType<B> for Several<T> {
    type Target = Several<T::Target>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Self::Target
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        Several(self.0.into_iter().map(|it| it.map_to_dispatch(&map_kind, autodiff)).collect())
    }

    fn map_from_dispatch<F>(target: Self::Target, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Self(target.0.into_iter().map(|it| T::map_from_dispatch(it, &unwrap_kind)).collect())
    }

    fn routing_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        target.0.iter().find_map(T::routing_tensor)
    }

    fn routing_float_tensor(target: &Self::Target) -> Option<&DispatchTensor> {
        target.0.iter().find_map(T::routing_float_tensor)
    }

    fn autodiff_context(target: &Self::Target) -> DispatchAutodiffContext {
        let contexts = target.0.iter().map(T::autodiff_context);
        contexts.fold(DispatchAutodiffContext::Disabled, |all, own| all.merge(own))
    }
}
