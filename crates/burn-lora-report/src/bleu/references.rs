//! Rows with the same prompt are one prompt with several references.

use std::collections::HashMap;

/// A prompt and every text that is right for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptReferences {
    /// The prompt.
    pub prompt: String,
    /// In the order of the rows; what is there twice stays twice.
    pub references: Vec<String>,
}

/// Groups rows of a prompt and a text by their prompts, in the order in which prompts first come. Rows of a
/// prompt need not follow one another. Prompts are the same when every byte is.
///
/// A row that has several texts already gives a pair for each:
///
/// ```
/// use burn_lora_report::bleu::group_references;
///
/// let rows = [("a", vec!["1", "2"]), ("b", vec!["3"]), ("a", vec!["4"])];
/// let pairs = rows.iter().flat_map(|(prompt, texts)| texts.iter().map(|text| (*prompt, *text)));
/// let groups = group_references(pairs);
/// assert_eq!(groups.len(), 2);
/// assert_eq!(groups[0].references, ["1", "2", "4"]);
/// ```
pub fn group_references<'a>(
    rows: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<PromptReferences> {
    let mut groups: Vec<PromptReferences> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (prompt, reference) in rows {
        let place = *places.entry(prompt).or_insert(groups.len());
        if place == groups.len() {
            groups.push(PromptReferences { prompt: prompt.to_owned(), references: Vec::new() });
        }
        groups[place].references.push(reference.to_owned());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_prompt_are_found_wherever_they_are_and_keep_their_order() {
        let rows = [("b", "1"), ("a", "2"), ("b", "1"), ("b ", "3"), ("a", "4"), ("b", "5")];
        let groups = group_references(rows);
        let flat: Vec<(&str, Vec<&str>)> = groups
            .iter()
            .map(|group| {
                let references = group.references.iter().map(String::as_str).collect();
                (group.prompt.as_str(), references)
            })
            .collect();
        assert_eq!(flat, [("b", vec!["1", "1", "5"]), ("a", vec!["2", "4"]), ("b ", vec!["3"])]);
        assert!(group_references([]).is_empty());
    }
}
