//! Text from tokens that arrive one at a time.
//!
//! A character may need several tokens, and until the last of them it decodes to U+FFFD. What is given out is given
//! out for good, so it waits.

/// Decodes an answer while it is written.
///
/// ```
/// use burn_lora_app::chat::Stream;
///
/// let words = ["Ahoy", "!", " Arr"];
/// let decode = |ids: &[u32]| -> Result<String, std::convert::Infallible> {
///     Ok(ids.iter().map(|id| words[*id as usize]).collect())
/// };
/// let mut stream = Stream::new(decode);
/// let pieces: Vec<_> = (0..3).map(|id| stream.push(id).unwrap().to_owned()).collect();
/// assert_eq!(pieces, words);
/// assert_eq!(stream.text(), "Ahoy! Arr");
/// ```
#[derive(Debug)]
pub struct Stream<D> {
    decode: D,
    ids: Vec<u32>,
    /// Of all the tokens.
    decoded: String,
    /// What was given out.
    text: String,
}

impl<D> Stream<D> {
    /// With what decodes all of an answer's tokens.
    pub fn new(decode: D) -> Self {
        Self { decode, ids: Vec::new(), decoded: String::new(), text: String::new() }
    }

    /// Takes a token; returns the text that is certain now and was not before.
    ///
    /// Each token decodes the answer so far anew, because what a token means may depend on those before it.
    ///
    /// # Errors
    ///
    /// What the decoder cannot decode; the token is not taken then.
    pub fn push<E>(&mut self, id: u32) -> Result<&str, E>
    where
        D: Fn(&[u32]) -> Result<String, E>,
    {
        self.ids.push(id);
        match (self.decode)(&self.ids) {
            Ok(decoded) => self.decoded = decoded,
            Err(error) => {
                self.ids.pop();
                return Err(error);
            }
        }
        let whole = self.decoded.trim_end_matches('\u{fffd}').len();
        Ok(self.give(whole, false))
    }

    /// There are no more tokens; returns what was held back.
    pub fn finish(&mut self) -> &str {
        self.give(self.decoded.len(), true)
    }

    /// Everything given out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives out of `decoded[..whole]` what is new.
    fn give(&mut self, whole: usize, last: bool) -> &str {
        let from = self.text.len();
        let new = match self.decoded[..whole].strip_prefix(&self.text) {
            Some(new) => new,
            // The decoder changed what it had said, which no common one does. What was given out
            // stands; at the end, what follows the part in common follows it.
            None if last => &self.decoded[common(&self.decoded, &self.text)..],
            None => "",
        };
        self.text.push_str(new);
        &self.text[from..]
    }
}

/// How many bytes two texts have in common at their start.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}
