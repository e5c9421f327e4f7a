//! Which characters a text may have, so that it is displayed as it is stored: no texts that look empty, no characters that
//! change the reading direction of the text around them, no line breaks in texts of one line.
//!
//! Source: Unicode Standard Annex 9 (directional formatting), Unicode's property Default_Ignorable_Code_Point; Unicode
//! Technical Standard 55 on the abuse of override characters.

use super::{Fields, Rule};

/// Whether a character changes the direction of the text after it: embeddings, overrides, isolates. Single marks, which
/// Hebrew and Arabic texts use, do not.
fn turns_direction(letter: char) -> bool {
    matches!(letter, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is invisible: Default_Ignorable_Code_Point, and characters that fonts draw as blanks.
pub fn is_invisible(letter: char) -> bool {
    let ignorable = matches!(letter,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}');
    ignorable || letter.is_whitespace() || letter.is_control()
}

/// Whether it is a noncharacter, which no text has (Unicode, 23.7).
pub fn is_noncharacter(letter: char) -> bool {
    matches!(letter, '\u{FDD0}'..='\u{FDEF}') || (u32::from(letter) & 0xFFFE) == 0xFFFE
}

impl Fields {
    /// Checks the length in characters, and that something is visible if `bounds` starts above zero. Of control characters
    /// only line breaks and tabs are allowed.
    pub fn text(&mut self, value: &str, bounds: std::ops::RangeInclusive<usize>, field: &str) {
        let length = value.chars().count();
        let (least, most) = (*bounds.start(), *bounds.end());
        let blank = least > 0 && value.chars().all(is_invisible);
        let rule = Rule::Length { min: least as u64, max: most as u64 };
        self.check(bounds.contains(&length) && !blank, field, rule);
        let printable = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\r' | '\t');
        let clean = value.chars().all(|letter| printable(letter) && !is_noncharacter(letter));
        self.check(clean, field, Rule::ControlCharacters);
        let straight = !value.chars().any(turns_direction);
        self.check(straight, field, Rule::Direction);
    }

    /// The same for texts of one line, such as names and titles.
    pub fn line(&mut self, value: &str, bounds: std::ops::RangeInclusive<usize>, field: &str) {
        self.text(value, bounds, field);
        let breaks = ['\n', '\r', '\t', '\u{2028}', '\u{2029}'];
        self.check(!value.contains(breaks), field, Rule::OneLine);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(check: impl FnOnce(&mut Fields)) -> Vec<String> {
        let mut fields = Fields::default();
        check(&mut fields);
        let refused = fields.into_result().err();
        refused.into_iter().flat_map(|problem| problem.errors).map(|error| error.message).collect()
    }

    #[test]
    fn a_name_can_be_seen_and_reads_as_it_is_written() {
        for name in ["Ada", "Ζοή", "עדה\u{200F}", "Ｏ’Neil", "王", "👩\u{200D}🚀"] {
            assert_eq!(errors(|fields| fields.line(name, 1..=100, "name")), Vec::<String>::new(), "{name:?}");
        }
        for odd in [
            "\u{200B}",
            " \u{3164}\u{FEFF}",
            "a\u{202E}b",
            "a\u{2067}b",
            "a\nb",
            "a\rb",
            "a\u{2028}b",
            "\u{FFFF}",
        ] {
            assert_eq!(errors(|fields| fields.line(odd, 1..=100, "name")).len(), 1, "{odd:?}");
        }
    }

    #[test]
    fn a_longer_text_may_have_line_breaks_and_be_empty_where_it_may_be_missing() {
        for text in ["", "One.\r\n\tTwo."] {
            assert_eq!(
                errors(|fields| fields.text(text, 0..=500, "reason")),
                Vec::<String>::new(),
                "{text:?}"
            );
        }
        assert_eq!(errors(|fields| fields.text("a\u{202E}b", 0..=500, "reason")).len(), 1);
        assert_eq!(errors(|fields| fields.text("a\u{85}b", 0..=500, "reason")).len(), 1);
    }
}
