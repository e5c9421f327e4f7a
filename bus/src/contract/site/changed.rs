//! Which fields of a site a change touches: for the audit, which has the names of the fields and not their values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::SiteFields;

/// The paths of the fields that differ, by name. A field with its own fields is compared by them.
pub fn changed_fields(before: &SiteFields, after: &SiteFields) -> Vec<String> {
    let leaves = |fields: &SiteFields| {
        let mut found = BTreeMap::new();
        collect(serde_json::to_value(fields).expect("plain fields always serialize"), "", &mut found);
        found
    };
    let (before, after) = (leaves(before), leaves(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// The values of an object by their paths.
fn collect(value: Value, path: &str, found: &mut BTreeMap<String, Value>) {
    let Value::Object(fields) = value else {
        found.insert(path.to_owned(), value);
        return;
    };
    for (name, value) in fields {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        collect(value, &path, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_fields_are_named_by_their_paths() {
        let before = SiteFields::named("Kino");
        let mut after = before.clone();
        assert_eq!(changed_fields(&before, &after), Vec::<String>::new());
        after.name = "Lichtspiele".into();
        after.theme.logo_url = Some("/media/logo.png".into());
        after.refund_policy.percent = 50;
        after.languages.pop();
        let names = ["languages", "name", "refundPolicy.percent", "theme.logoUrl"];
        assert_eq!(changed_fields(&before, &after), names);
        assert_eq!(changed_fields(&after, &before), names, "what is removed has changed, too");
    }
}
