//! Enums whose variants are words of the configuration, each word beside its variant.

/// An enum whose variants have names in configurations and messages.
pub trait Named: Copy + 'static {
    /// Every variant, in the order in which messages list them.
    const ALL: &'static [Self];

    /// The word that stands for it.
    fn name(self) -> &'static str;
}

/// Declares an enum and the word of each variant; it serialises as its word.
macro_rules! named {
    (
        $(#[$meta:meta])*
        pub enum $Enum:ident { $( $(#[$doc:meta])* $Variant:ident = $word:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Enum { $( $(#[$doc])* $Variant ),+ }

        impl $crate::Named for $Enum {
            const ALL: &'static [Self] = &[$( Self::$Variant ),+];

            fn name(self) -> &'static str {
                match self { $( Self::$Variant => $word ),+ }
            }
        }

        impl serde::Serialize for $Enum {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::Named::name(*self))
            }
        }
    };
}

/// Makes an enum that has `ALL` and `name` of its own one of these.
macro_rules! named_elsewhere {
    ($($Enum:ty),+) => { $(
        impl Named for $Enum {
            const ALL: &'static [Self] = &<$Enum>::ALL;

            fn name(self) -> &'static str {
                <$Enum>::name(self)
            }
        }
    )+ };
}

pub(crate) use named;

named_elsewhere!(
    burn_lora_data::Answers,
    burn_lora_data::Format,
    burn_lora_data::OverLong,
    burn_lora_models::Recompute,
    burn_lora_models::WeightDtype,
    burn_lora_patch::Bias
);
