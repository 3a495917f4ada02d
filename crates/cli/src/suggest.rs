//! A mistyped name -> the name that was probably meant.

/// The candidate that `typed` was probably meant to be, if one is near enough.
///
/// Near enough is a third of the letters wrong (transpositions count once), or one name being the start of the
/// other: `fracton` finds `fraction`, `max_val` finds `max_val_set`, `colour` finds nothing in `size, fraction`.
#[must_use]
pub fn closest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let typed = plain(typed);
    let distance = |name: &str| {
        let name = plain(name);
        let shorter = typed.len().min(name.len());
        if shorter >= 4 && (name.starts_with(&typed) || typed.starts_with(&name)) {
            return 1;
        }
        strsim::damerau_levenshtein(&typed, &name)
    };
    let (near, candidate) =
        candidates.into_iter().map(|name| (distance(name), name)).min_by_key(|(near, _)| *near)?;
    let limit = typed.chars().count().max(candidate.chars().count()).div_ceil(3);
    (near <= limit).then_some(candidate)
}

/// The hint under an error about an unknown name: the probable one, or all there are.
#[must_use]
pub fn hint<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> String {
    match closest(typed, candidates.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let all: Vec<_> = candidates.into_iter().map(|name| format!("`{name}`")).collect();
            format!("{what}: {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expected: Option<&str>) {
        let keys = ["fraction", "size", "val_split", "max_val_set", "lang"];
        assert_eq!(closest(typed, keys), expected);
    }

    #[test]
    fn a_typo_finds_the_name_and_a_foreign_word_finds_nothing() {
        check("fracton", Some("fraction"));
        check("farction", Some("fraction"));
        check("val-split", Some("val_split"));
        check("max_val", Some("max_val_set"));
        check("sise", Some("size"));
        check("temperature", None);
        assert_eq!(hint("qqqqqqq", ["a", "b"], "known keys"), "known keys: `a`, `b`");
    }
}
