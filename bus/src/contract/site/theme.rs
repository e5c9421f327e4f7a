//! The look of a site: its logo, and the colours of the page's header and of the buttons that lead on.
//!
//! Invariant: text can be read on its ground in both colour schemes: the two colours of a pair have a contrast of at least
//! 4.5:1 (WCAG 2.2, success criterion 1.4.3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_link;
use crate::contract::{Fields, Rule};

/// The least contrast of text with its ground.
pub const CONTRAST_MIN: f64 = 4.5;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Theme {
    /// An address, or a path on this server. Without it the page shows the name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo_url: Option<String>,
    /// Without them the page has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colours: Option<Colours>,
}

/// Each a ground and the text on it, such as `#171213`. They are the same in the light and the dark scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Colours {
    pub header: String,
    pub on_header: String,
    pub button: String,
    pub on_button: String,
}

impl Theme {
    pub(super) fn validate(&self, fields: &mut Fields) {
        check_link(self.logo_url.as_ref(), "theme.logoUrl", fields);
        let Some(Colours { header, on_header, button, on_button }) = &self.colours else { return };
        let pairs = [(header, on_header, "header", "onHeader"), (button, on_button, "button", "onButton")];
        for (ground, text, of_ground, of_text) in pairs {
            let path = |field: &str| format!("theme.colours.{field}");
            let (ground_is, text_is) = (luminance(ground), luminance(text));
            fields.check(ground_is.is_some(), &path(of_ground), Rule::Colour);
            fields.check(text_is.is_some(), &path(of_text), Rule::Colour);
            let contrast = contrast(ground, text);
            fields.check(
                contrast.is_none_or(|contrast| contrast >= CONTRAST_MIN),
                &path(of_text),
                Rule::Contrast { other: of_ground },
            );
        }
    }
}

/// The contrast ratio of two colours by WCAG 2.2, from 1 to 21; `None` where one of them is no colour.
pub fn contrast(one: &str, other: &str) -> Option<f64> {
    let (one, other) = (luminance(one)?, luminance(other)?);
    Some((one.max(other) + 0.05) / (one.min(other) + 0.05))
}

/// The relative luminance of a colour such as `#f4ae33`, from 0 to 1.
fn luminance(colour: &str) -> Option<f64> {
    let hex = colour.strip_prefix('#').filter(|hex| hex.len() == 6)?;
    // `from_str_radix` would take a sign.
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).ok()?) / 255.0;
        Some(if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) })
    };
    Some(0.2126 * channel(0)? + 0.7152 * channel(2)? + 0.0722 * channel(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(header: &str, on_header: &str) -> Vec<String> {
        let colours = Colours {
            header: header.into(),
            on_header: on_header.into(),
            button: "#f4ae33".into(),
            on_button: "#261803".into(),
        };
        let mut fields = Fields::default();
        Theme { colours: Some(colours), logo_url: None }.validate(&mut fields);
        let errors = fields.into_result().err().into_iter().flat_map(|problem| problem.errors);
        errors.map(|error| format!("{} {} {:?}", error.field, error.code, error.other)).collect()
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert_eq!(contrast("#000000", "#ffffff"), Some(21.0));
        assert_eq!(contrast("#abcdef", "#ABCDEF"), Some(1.0));
        // The greys on both sides of the limit, as WCAG's own examples have them.
        assert!(contrast("#767676", "#ffffff").unwrap() >= CONTRAST_MIN);
        assert!(contrast("#777777", "#ffffff").unwrap() < CONTRAST_MIN);
    }

    #[test]
    fn text_that_cannot_be_read_on_its_ground_is_refused() {
        assert_eq!(wrong("#171213", "#f5ecdf"), Vec::<String>::new());
        assert_eq!(wrong("#777777", "#ffffff"), ["theme.colours.onHeader contrast Some(\"header\")"]);
        assert_eq!(wrong("red", "#ffffff"), ["theme.colours.header colour None"]);
        assert_eq!(wrong("#171213", "#+f5ecd"), ["theme.colours.onHeader colour None"]);
    }
}
