//! Text as glyphs: in any script and direction, broken into lines, made smaller where it is long.
//!
//! Invariant: no part of a text is lost: what does not fit at one size is set at a smaller one.

use std::ops::Range;

use harfrust::{Buffer, Direction, ShapeOptions, ShaperFont, shape};
use unicode_bidi::BidiInfo;

use super::typeface::{self, Face, MARK};

/// The distance of baselines, in sizes.
pub const LEADING: f32 = 1.3;
/// How much smaller each next try is.
const SHRINK: f32 = 0.94;
/// Below this it is not tried: any text of the contract's length fits before.
const SIZE_MIN: f32 = 3.0;
/// A word is broken only below this part of the wanted size.
const WHOLE_WORDS_FROM: f32 = 0.4;

/// A glyph of a line; lengths are in sizes, so that a line fits every size.
#[derive(Debug, Clone)]
pub struct Glyph {
    pub face: Face,
    pub id: u16,
    pub advance: f32,
    pub offset: (f32, f32),
}

/// Glyphs that stand for some characters together, in the order of the eye.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub text: String,
    pub glyphs: Vec<Glyph>,
    start: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Line {
    pub clusters: Vec<Cluster>,
    pub width: f32,
    pub is_rtl: bool,
}

/// A text that was set.
#[derive(Debug, Default)]
pub struct Block {
    pub size: f32,
    pub lines: Vec<Line>,
}

/// Sets a text at the largest size up to `size` at which it fits into this width and the height of so many lines. A word is
/// broken only where it fits no line at a size that is well read.
pub fn fit(text: &str, is_bold: bool, size: f32, width: f32, lines_max: usize) -> Block {
    let text = printable(text, is_bold);
    let height = lines_max as f32 * size;
    let mut at = size;
    loop {
        let (lines, is_torn) = wrap(&text, is_bold, width / at);
        let is_too_high = lines.len() as f32 * at > height;
        if at <= SIZE_MIN || !(is_too_high || is_torn && at > size * WHOLE_WORDS_FROM) {
            return Block { size: at, lines };
        }
        at *= SHRINK;
    }
}

/// The text with a mark for each character that no typeface has.
fn printable(text: &str, is_bold: bool) -> String {
    let visible = text.chars().filter(|character| !character.is_control());
    visible
        .map(|character| typeface::covering(character, is_bold, None).map_or(MARK, |_| character))
        .collect()
}

/// Breaks a text into lines of at most this width, in sizes: at spaces, between ideographs, and within words that are longer
/// than a line. Also returns whether it broke one of those.
fn wrap(text: &str, is_bold: bool, width: f32) -> (Vec<Line>, bool) {
    let (mut lines, mut is_torn) = (Vec::new(), false);
    let mut rest = text.trim();
    while !rest.is_empty() {
        let line = set(rest, is_bold);
        if line.width <= width {
            lines.push(line);
            break;
        }
        let (end, is_within) = fitting(rest, &line, width);
        is_torn |= is_within;
        lines.push(set(rest[..end].trim_end(), is_bold));
        rest = rest[end..].trim_start();
    }
    (lines, is_torn)
}

/// How much of the text fits into the width, at least one cluster, and whether that ends within a word.
fn fitting(text: &str, line: &Line, width: f32) -> (usize, bool) {
    // In the order of reading.
    let mut clusters: Vec<&Cluster> = line.clusters.iter().collect();
    clusters.sort_by_key(|cluster| cluster.start);
    let (mut used, mut end, mut last_break) = (0.0, 0, None);
    for (at, cluster) in clusters.iter().enumerate() {
        used += cluster.glyphs.iter().map(|glyph| glyph.advance).sum::<f32>();
        let is_space = cluster.text.trim().is_empty();
        if used > width && !is_space && at > 0 {
            break;
        }
        end = clusters.get(at + 1).map_or(text.len(), |next| next.start);
        let next = text[end..].chars().next();
        if is_space
            || cluster.text.ends_with('-')
            || breaks_after(&cluster.text)
            || next.is_some_and(is_ideograph)
        {
            last_break = Some(end);
        }
    }
    (last_break.unwrap_or(end), last_break.is_none())
}

fn breaks_after(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_ideograph)
}

/// Scripts that are written without spaces, and broken between any two characters.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// One line of a text, its glyphs in the order of the eye.
fn set(text: &str, is_bold: bool) -> Line {
    let bidi = BidiInfo::new(text, None);
    let mut line = Line::default();
    for paragraph in &bidi.paragraphs {
        line.is_rtl |= paragraph.level.is_rtl();
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for run in runs {
            let is_rtl = levels[run.start].is_rtl();
            let mut parts = of_one_face(text, run, is_bold);
            if is_rtl {
                parts.reverse();
            }
            for (face, part) in parts {
                line.clusters.extend(shaped(text, part, face, is_rtl));
            }
        }
    }
    line.width = line.clusters.iter().flat_map(|cluster| &cluster.glyphs).map(|glyph| glyph.advance).sum();
    line
}

/// A run in parts of one typeface each.
fn of_one_face(text: &str, run: Range<usize>, is_bold: bool) -> Vec<(Face, Range<usize>)> {
    let mut parts: Vec<(Face, Range<usize>)> = Vec::new();
    for (at, character) in text[run.clone()].char_indices() {
        let (start, end) = (run.start + at, run.start + at + character.len_utf8());
        let before = parts.last().map(|(face, _)| *face);
        let face = typeface::covering(character, is_bold, before).or(before).unwrap_or_default();
        match parts.last_mut() {
            Some((last, part)) if *last == face => part.end = end,
            _ => parts.push((face, start..end)),
        }
    }
    parts
}

fn shaped(text: &str, part: Range<usize>, face: Face, is_rtl: bool) -> Vec<Cluster> {
    let typeface = typeface::face(face);
    let em = f32::from(typeface.font.units_per_em());
    let mut buffer = Buffer::new();
    buffer.push_str(&text[part.clone()]);
    buffer.guess_segment_properties();
    buffer.set_direction(if is_rtl { Direction::RightToLeft } else { Direction::LeftToRight });
    if shape(&ShaperFont::new(&typeface.font), &mut buffer, ShapeOptions::new()).is_err() {
        // Only a buffer without a direction is refused.
        return Vec::new();
    }
    let mut starts: Vec<usize> = buffer.glyph_infos().iter().map(|info| info.cluster as usize).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut clusters: Vec<Cluster> = Vec::new();
    for (info, position) in buffer.glyph_infos().iter().zip(buffer.glyph_positions()) {
        let start = info.cluster as usize;
        let glyph = Glyph {
            face,
            id: u16::try_from(info.glyph_id).unwrap_or_default(),
            advance: position.x_advance as f32 / em,
            offset: (position.x_offset as f32 / em, position.y_offset as f32 / em),
        };
        match clusters.last_mut() {
            Some(cluster) if cluster.start == part.start + start => cluster.glyphs.push(glyph),
            _ => {
                let next = starts[starts.partition_point(|other| *other <= start)..].first();
                let end = next.map_or(part.end, |next| part.start + next);
                let start = part.start + start;
                clusters.push(Cluster { text: text[start..end].to_owned(), glyphs: vec![glyph], start });
            }
        }
    }
    clusters
}
