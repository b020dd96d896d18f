//! What a person may have meant by a word that is not known.

/// "did you mean", if something is near, and what there is.
pub(crate) fn suggestion(word: &str, known: &[&str]) -> String {
    let near = |k: &&&str| strsim::damerau_levenshtein(word, k) <= 1 + k.len() / 3;
    let best = known
        .iter()
        .filter(near)
        .min_by_key(|k| strsim::damerau_levenshtein(word, k));
    let all = known.join(", ");
    match best {
        Some(best) => format!("did you mean `{best}`? There are: {all}"),
        None => format!("there are: {all}"),
    }
}
