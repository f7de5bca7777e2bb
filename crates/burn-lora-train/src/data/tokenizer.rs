//! What is asked of a tokenizer.

use super::row::Message;

/// Why a tokenizer could not encode a text.
pub type EncodeError = Box<dyn std::error::Error + Send + Sync>;

/// A text as token ids, cut to a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Whether anything was cut away.
    pub cut: bool,
}

/// A tokenizer, as far as data needs one.
pub trait Encode {
    /// The token ids of a text; `special` adds the tokens that the tokenizer puts around one text
    /// (a beginning token, `[CLS]` and `[SEP]`), which may be none.
    ///
    /// # Errors
    ///
    /// What the tokenizer says.
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, EncodeError>;

    /// The token ids of a text with special tokens, at most `max_length` of them. It is the text
    /// that is cut, on its right: the special tokens around it stay.
    ///
    /// # Errors
    ///
    /// What the tokenizer says.
    fn encode_cut(&self, text: &str, max_length: usize) -> Result<Cut, EncodeError>;

    /// The end token, if the tokenizer names one.
    fn eos(&self) -> Option<u32>;

    /// The id of a token, if it is in the vocabulary.
    fn token_to_id(&self, token: &str) -> Option<u32>;

    /// A conversation as the model's chat template writes it, in segments of text, each with
    /// whether it is learned; nothing where there is no template. The texts hold whatever special
    /// tokens the template asks for, and nothing is added to them.
    ///
    /// # Errors
    ///
    /// What the template says.
    fn chat(&self, messages: &[Message]) -> Option<Result<Vec<(String, bool)>, EncodeError>> {
        let _ = messages;
        None
    }
}
