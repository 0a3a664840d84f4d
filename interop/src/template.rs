//! Configuration templates: `{{name}}` stands for a value of the side whose file it is.

use std::collections::BTreeMap;

use crate::failure::{Context, Result};

/// Values by name.
pub(crate) type Vars = BTreeMap<String, String>;

/// Replaces every `{{name}}`.
///
/// # Errors
/// When a name has no value.
pub(crate) fn render(text: &str, vars: &Vars) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a {{ without }}")?;
        out += before;
        out += vars.get(name).context(format!("no value for {{{{{name}}}}}"))?;
        rest = after;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_names_and_refuses_unknown_ones() {
        let vars = Vars::from([("a".to_owned(), "1".to_owned())]);
        assert_eq!(render("x {{a}} y {{a}}", &vars).expect("known"), "x 1 y 1");
        assert!(render("{{b}}", &vars).is_err());
        assert!(render("{{a", &vars).is_err());
    }
}
