//! The colours of tickets and receipts: the site's, where they can be read on paper, else our own.

use bus::contract::site::{CONTRAST_MIN, Theme, contrast};

use super::pdf::Colour;

const INK: Colour = (0.10, 0.11, 0.14);
const PAPER: Colour = (1.0, 1.0, 1.0);
const WHITE: &str = "#ffffff";

/// The colours of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// The band with the cinema's name, and the name on it.
    pub band: Colour,
    pub on_band: Colour,
    /// Lines and headings on white paper.
    pub accent: Colour,
}

impl Default for Look {
    fn default() -> Self {
        Self { band: INK, on_band: PAPER, accent: INK }
    }
}

impl Look {
    pub fn of(theme: &Theme) -> Self {
        let mut look = Self::default();
        let Some(colours) = &theme.colours else { return look };
        let reads = |one: &str, other: &str| contrast(one, other).is_some_and(|ratio| ratio >= CONTRAST_MIN);
        if let (true, Some(band), Some(on_band)) =
            (reads(&colours.header, &colours.on_header), colour(&colours.header), colour(&colours.on_header))
        {
            (look.band, look.on_band) = (band, on_band);
        }
        // The darkest of the site's grounds; a light one cannot be read on paper.
        let on_paper = [&colours.header, &colours.button].into_iter().find(|ground| reads(ground, WHITE));
        if let Some(accent) = on_paper.and_then(|ground| colour(ground)) {
            look.accent = accent;
        }
        look
    }
}

/// Red, green and blue of a colour such as `#f4ae33`.
fn colour(text: &str) -> Option<Colour> {
    let hex = text.strip_prefix('#').filter(|hex| hex.len() == 6 && hex.is_ascii())?;
    let channel =
        |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok().map(|value| f32::from(value) / 255.0);
    Some((channel(0)?, channel(2)?, channel(4)?))
}

#[cfg(test)]
mod tests {
    use bus::contract::site::Colours;

    use super::*;

    fn look(header: &str, on_header: &str, button: &str) -> Look {
        let colours = Colours {
            header: header.into(),
            on_header: on_header.into(),
            button: button.into(),
            on_button: "#000000".into(),
        };
        Look::of(&Theme { logo_url: None, colours: Some(colours) })
    }

    #[test]
    fn colours_that_cannot_be_read_are_not_printed() {
        let own = Look::default();
        let (blue, white) = ((0.0, 0.0, 1.0), (1.0, 1.0, 1.0));
        assert_eq!(look("#0000ff", "#ffffff", "#ffff00"), Look { band: blue, on_band: white, accent: blue });
        let light = look("#ffffff", "#000000", "#ffff00");
        assert_eq!((light.band, light.accent), (white, own.accent), "a light ground is no accent on paper");
        assert_eq!(look("#ffffff", "#0000ff", "#0000ff").accent, blue, "the button's may be one");
        assert_eq!(look("#777777", "#888888", "#ffff00"), own);
        assert_eq!(look("blue", "#ffffff", "#éé"), own);
        assert_eq!(Look::of(&Theme::default()), own);
    }
}
