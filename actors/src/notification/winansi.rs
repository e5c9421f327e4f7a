//! Text for the fonts that every PDF reader has: WinAnsi (Windows-1252) bytes and Helvetica's widths.
//!
//! What WinAnsi lacks is transliterated (千 → Qian), so a title in any script can be read and breaks nothing. Embedding a
//! font for all scripts would add megabytes to each mail.

/// Windows-1252 from 0x80 on; `\0` where it has no character.
const HIGH: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“',
    '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

/// Helvetica's advance widths of 0x20–0x7E, in thousandths of the size (Adobe's font metrics).
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556,
    556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278,
    500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469,
    556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500,
    278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
/// Helvetica-Bold is at most so much wider.
const BOLD: f32 = 1.08;

/// The bytes of a text, every character of it readable.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte(character) {
            Some(byte) => bytes.push(byte),
            None => {
                let spelled = deunicode::deunicode_char(character).unwrap_or("?");
                bytes.extend(spelled.chars().filter_map(byte));
            }
        }
    }
    bytes
}

fn byte(character: char) -> Option<u8> {
    match character {
        ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(character)).ok(),
        '\0' => None,
        _ => HIGH.iter().position(|high| *high == character).map(|at| 0x80 + at as u8),
    }
}

/// The width of encoded text at a size, in points; never less than the true one by more than a hair.
pub fn width(bytes: &[u8], size: f32, bold: bool) -> f32 {
    // Beyond ASCII no letter of the language texts is wider than `m`; most are as wide as `n`.
    let units: u32 = bytes
        .iter()
        .map(|byte| u32::from(*WIDTHS.get(usize::from(*byte).wrapping_sub(0x20)).unwrap_or(&667)))
        .sum();
    units as f32 / 1000.0 * size * if bold { BOLD } else { 1.0 }
}

/// Breaks a text into lines that are no wider than `most` points, at spaces where there are any; what does not fit
/// into `lines_max` lines ends in `…`.
pub fn wrap(text: &str, size: f32, bold: bool, most: f32, lines_max: usize) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    for word in encode(text).split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
        let mut longer = line.clone();
        if !longer.is_empty() {
            longer.push(b' ');
        }
        longer.extend(word);
        if width(&longer, size, bold) <= most {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for byte in word {
            line.push(*byte);
            if width(&line, size, bold) > most {
                let last = line.pop();
                lines.push(std::mem::take(&mut line));
                line.extend(last);
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    if lines.len() > lines_max {
        lines.truncate(lines_max);
        if let Some(last) = lines.last_mut() {
            while width(last, size, bold) > most - size {
                last.pop();
            }
            last.push(0x85);
        }
    }
    lines
}
