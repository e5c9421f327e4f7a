//! The fonts of the tickets, for the scripts that films are named in: Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew, Arabic,
//! Thaana, Ethiopic, the scripts of India and Sri Lanka, Thai, Lao, Khmer, Burmese, Chinese, Japanese and Korean.
//! `actors/fonts/README.md` says where they are from.
//!
//! A character that no font has is shown as [`MARK`], so that a reader sees that something is missing.

use std::sync::LazyLock;

use bus::contract::text::is_invisible;
use harfrust::font::charmap::Charmap;
use harfrust::{Font, ShaperFont};

/// Unicode's replacement character.
pub const MARK: char = '\u{fffd}';

pub struct Typeface {
    /// Its PostScript name.
    pub name: &'static str,
    pub file: &'static [u8],
    pub font: Font,
}

macro_rules! typefaces {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../fonts/", $name, ".ttf")).as_slice())),*]
    };
}

/// In the order in which they are asked for a character. The first two have the same characters.
static ALL: LazyLock<Vec<Typeface>> = LazyLock::new(|| {
    let files = typefaces![
        "NotoSans-Regular",
        "NotoSans-Bold",
        "NotoSansHebrew-Regular",
        "NotoSansArabic-Regular",
        "NotoSansDevanagari-Regular",
        "NotoSansBengali-Regular",
        "NotoSansGujarati-Regular",
        "NotoSansGurmukhi-Regular",
        "NotoSansKannada-Regular",
        "NotoSansMalayalam-Regular",
        "NotoSansOriya-Regular",
        "NotoSansSinhala-Regular",
        "NotoSansTamil-Regular",
        "NotoSansTelugu-Regular",
        "NotoSansThai-Regular",
        "NotoSansLao-Regular",
        "NotoSansKhmer-Regular",
        "NotoSansMyanmar-Regular",
        "NotoSansArmenian-Regular",
        "NotoSansGeorgian-Regular",
        "NotoSansThaana-Regular",
        "NotoSansEthiopic-Regular",
        "NanumSquareR",
        "DroidSansFallbackFull",
    ];
    files
        .into_iter()
        .map(|(name, file)| {
            let font = Font::new(file, 0).expect("the fonts in the repository are well formed");
            Typeface { name, file, font }
        })
        .collect()
});

/// Which characters each has.
static CHARACTERS: LazyLock<Vec<Charmap<'static>>> =
    LazyLock::new(|| ALL.iter().map(|typeface| typeface.font.charmap()).collect());

/// The number of a typeface in the list of all.
pub type Face = usize;

const REGULAR: Face = 0;
const BOLD: Face = 1;

pub fn face(face: Face) -> &'static Typeface {
    &ALL[face]
}

/// The typeface for a character: that of the text before it, if it has the character, so that words are not torn apart. `None`:
/// no typeface has it.
pub fn covering(character: char, is_bold: bool, before: Option<Face>) -> Option<Face> {
    let first = if is_bold { BOLD } else { REGULAR };
    if is_invisible(character) && !character.is_whitespace() {
        return Some(before.unwrap_or(first));
    }
    let in_order = before.into_iter().chain([first]).chain(2..ALL.len());
    in_order.into_iter().find(|face| has(*face, character))
}

fn has(face: Face, character: char) -> bool {
    CHARACTERS[face].map_unicode(character).is_some()
}

/// A glyph's width, in sizes.
pub fn advance(face: Face, glyph: u16) -> f32 {
    let font = &ALL[face].font;
    let units = ShaperFont::new(font).default_glyph_h_advance(u32::from(glyph).into());
    units as f32 / f32::from(font.units_per_em())
}
