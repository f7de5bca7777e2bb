//! Text from tokens that arrive one at a time.
//!
//! A character may need several tokens, and until the last of them it decodes to U+FFFD; a stop
//! string may begin in one token and end in a later one. What is given out is given out for good, so
//! both wait.

/// Decodes an answer while it is written.
///
/// ```
/// use burn_lora_app::chat::Stream;
///
/// let words = ["Ahoy", "!", "\nUs", "er", ":"];
/// let decode = |ids: &[u32]| -> Result<String, std::convert::Infallible> {
///     Ok(ids.iter().map(|id| words[*id as usize]).collect())
/// };
/// let mut stream = Stream::new(decode, &["\nUser:"]);
/// let pieces: Vec<_> = (0..5).map(|id| stream.push(id).unwrap().to_owned()).collect();
/// assert_eq!(pieces, ["Ahoy", "!", "", "", ""]);
/// assert!(stream.stopped());
/// assert_eq!(stream.text(), "Ahoy!");
/// ```
#[derive(Debug)]
pub struct Stream<D> {
    decode: D,
    stops: Vec<String>,
    ids: Vec<u32>,
    /// Of all the tokens.
    decoded: String,
    /// What was given out.
    text: String,
    stopped: bool,
}

impl<D> Stream<D> {
    /// With what decodes all of an answer's tokens, and the texts that end it and are no part of it.
    pub fn new<S: AsRef<str>>(decode: D, stops: &[S]) -> Self {
        let stops = stops.iter().map(|stop| stop.as_ref().to_owned());
        Self {
            decode,
            stops: stops.filter(|stop| !stop.is_empty()).collect(),
            ids: Vec::new(),
            decoded: String::new(),
            text: String::new(),
            stopped: false,
        }
    }

    /// Takes a token; returns the text that is certain now and was not before.
    ///
    /// After a stop string tokens are passed over. Each token decodes the answer so far anew, because
    /// what a token means may depend on those before it.
    ///
    /// # Errors
    ///
    /// What the decoder cannot decode; the token is not taken then.
    pub fn push<E>(&mut self, id: u32) -> Result<&str, E>
    where
        D: Fn(&[u32]) -> Result<String, E>,
    {
        if self.stopped {
            return Ok("");
        }
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
        if self.stopped {
            return "";
        }
        self.give(self.decoded.len(), true)
    }

    /// Everything given out.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every token taken, those of a stop string too.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether a stop string came.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Gives out of `decoded[..whole]` what is new and, unless it is the last, no start of a stop.
    fn give(&mut self, whole: usize, last: bool) -> &str {
        let from = self.text.len();
        let pending = match self.decoded[..whole].strip_prefix(&self.text) {
            Some(pending) => pending,
            // The decoder changed what it had said, which no common one does. What was given out
            // stands; at the end, what follows the part in common follows it.
            None if last => &self.decoded[common(&self.decoded, &self.text)..],
            None => return "",
        };
        let until = match first_stop(pending, &self.stops) {
            Some(at) => {
                self.stopped = true;
                at
            }
            None if last => pending.len(),
            None => pending.len() - held_back(pending, &self.stops),
        };
        self.text.push_str(&pending[..until]);
        &self.text[from..]
    }
}

/// Where the stop string begins that ends first: the one at which token by token writing stops.
fn first_stop(text: &str, stops: &[String]) -> Option<usize> {
    let found = |stop: &String| text.find(stop.as_str()).map(|at| (at + stop.len(), at));
    stops.iter().filter_map(found).min().map(|(_, at)| at)
}

/// How many bytes at the end of the text may be the beginning of a stop string.
fn held_back(text: &str, stops: &[String]) -> usize {
    let beginning = |stop: &String| {
        stop.char_indices().map(|(at, _)| at).rev().find(|at| text.ends_with(&stop[..*at]))
    };
    stops.iter().filter_map(beginning).max().unwrap_or(0)
}

/// How many bytes two texts have in common at their start.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}
