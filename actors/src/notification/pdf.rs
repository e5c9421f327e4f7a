//! A PDF whose text is set in embedded fonts, of which it has only the glyphs that it shows.
//!
//! Invariant: what is shown can be copied and searched: each glyph is mapped to its characters, and where one glyph stands for
//! different characters, or several for some together, the characters stand beside them (`ActualText`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, hash_map};

use flate2::Compression;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use subsetter::{GlyphRemapper, subset};

use super::picture::Picture;
use super::stream::compressed;
use super::typeface::{self, Face};
use super::typesetting::{Cluster, Glyph, Line};

const IDENTITY: SystemInfo<'static> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };

/// How far the glyphs of our fonts reach above and below the baseline, in thousandths of the size.
const ASCENT: f32 = 1100.0;
const DESCENT: f32 = -400.0;

/// Red, green and blue, each from 0 to 1.
pub type Colour = (f32, f32, f32);

/// A document of pages of one size.
pub struct Document<'a> {
    size: (f32, f32),
    /// What every page may show; the file has it once.
    picture: Option<&'a Picture>,
    pages: Vec<[Vec<u8>; 2]>,
    fonts: BTreeMap<Face, UsedFont>,
}

/// A page in more pages than this is compressed more, which takes eight times as long and saves a fifth.
const FEW_PAGES: usize = 10;

/// The picture's name in the pages.
const PICTURE: Name<'static> = Name(b"P");

/// The glyphs of a font that are shown.
#[derive(Default)]
struct UsedFont {
    glyphs: GlyphRemapper,
    /// By the glyph's new number: its width, and its characters.
    shown: BTreeMap<u16, (f32, String)>,
}

impl<'a> Document<'a> {
    pub fn new(size: (f32, f32), picture: Option<&'a Picture>) -> Self {
        Self { size, picture, pages: Vec::new(), fonts: BTreeMap::new() }
    }

    /// Draws the document's picture at this size, with its lower left corner at `x` and `y`.
    pub fn draw(page: &mut Content, (width, height): (f32, f32), (x, y): (f32, f32)) {
        page.save_state().transform([width, 0.0, 0.0, height, x, y]).x_object(PICTURE).restore_state();
    }

    /// Adds a page of two parts, of which the file has each once, however many pages it is on.
    pub fn add(&mut self, parts: [Content; 2]) {
        self.pages.push(parts.map(|part| part.finish().into_vec()));
    }

    /// Shows a line with its first glyph at `x`, on the baseline `y`.
    pub fn show(
        &mut self,
        page: &mut Content,
        line: &Line,
        size: f32,
        (mut x, y): (f32, f32),
        colour: Colour,
    ) {
        let (red, green, blue) = colour;
        page.set_fill_rgb(red, green, blue).begin_text();
        let mut face = None;
        for cluster in &line.clusters {
            let is_plain = self.is_plain(cluster);
            if !is_plain {
                page.begin_marked_content_with_properties(Name(b"Span"))
                    .properties()
                    .actual_text(TextStr(&cluster.text));
            }
            for glyph in &cluster.glyphs {
                if face != Some(glyph.face) {
                    page.set_font(Name(font_name(glyph.face).as_bytes()), size);
                    face = Some(glyph.face);
                }
                let id = self.glyph(glyph, is_plain.then_some(&cluster.text));
                let (dx, dy) = (glyph.offset.0 * size, glyph.offset.1 * size);
                page.set_text_matrix([1.0, 0.0, 0.0, 1.0, x + dx, y + dy]).show(Str(&id.to_be_bytes()));
                x += glyph.advance * size;
            }
            if !is_plain {
                page.end_marked_content();
            }
        }
        page.end_text();
    }

    /// Whether the cluster is one glyph that always stands for the same characters.
    fn is_plain(&self, cluster: &Cluster) -> bool {
        let [glyph] = cluster.glyphs.as_slice() else { return false };
        let Some(font) = self.fonts.get(&glyph.face) else { return true };
        let shown = font.glyphs.get(glyph.id).and_then(|id| font.shown.get(&id));
        shown.is_none_or(|(_, text)| text.is_empty() || *text == cluster.text)
    }

    /// The number of a glyph in the embedded font.
    fn glyph(&mut self, glyph: &Glyph, text: Option<&String>) -> u16 {
        let font = self.fonts.entry(glyph.face).or_default();
        let id = font.glyphs.remap(glyph.id);
        let width = typeface::advance(glyph.face, glyph.id);
        match font.shown.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert((width, text.cloned().unwrap_or_default()));
            }
            Entry::Occupied(mut entry) if entry.get().1.is_empty() => {
                entry.get_mut().1 = text.cloned().unwrap_or_default();
            }
            Entry::Occupied(_) => {}
        }
        id
    }

    /// The file.
    pub fn finish(self, title: &str, language: &str) -> Result<Vec<u8>, String> {
        let Self { size, picture, pages, fonts } = self;
        let mut references = (1..).map(Ref::new);
        let mut reference = || references.next().expect("references do not end");
        let (catalog, tree, info) = (reference(), reference(), reference());
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(tree).lang(TextStr(language));
        let mut embedded: Vec<(String, Ref)> = Vec::new();
        for (face, font) in &fonts {
            let ids = [(); 5].map(|()| reference());
            write_font(&mut pdf, *face, font, ids)?;
            embedded.push((font_name(*face), ids[0]));
        }
        let image = picture.map(|picture| {
            let (image, mask) = (reference(), reference());
            picture.write(&mut pdf, image, mask);
            image
        });
        // A file of few pages is mostly for a mail, of which a rush sends many.
        let level = if pages.len() > FEW_PAGES { Compression::default() } else { Compression::fast() };
        let mut kids = Vec::new();
        let mut written: HashMap<Vec<u8>, Ref> = HashMap::new();
        for parts in pages {
            let page_id = reference();
            let contents = parts.map(|part| match written.entry(part) {
                hash_map::Entry::Occupied(entry) => *entry.get(),
                hash_map::Entry::Vacant(entry) => {
                    let id = reference();
                    pdf.stream(id, &compressed(entry.key(), level)).filter(Filter::FlateDecode);
                    *entry.insert(id)
                }
            });
            let mut page = pdf.page(page_id);
            page.media_box(Rect::new(0.0, 0.0, size.0, size.1)).parent(tree).contents_array(contents);
            let mut resources = page.resources();
            let mut named = resources.fonts();
            for (name, id) in &embedded {
                named.pair(Name(name.as_bytes()), *id);
            }
            named.finish();
            if let Some(image) = image {
                resources.x_objects().pair(PICTURE, image);
            }
            resources.finish();
            page.finish();
            kids.push(page_id);
        }
        pdf.pages(tree).count(i32::try_from(kids.len()).unwrap_or(i32::MAX)).kids(kids);
        pdf.document_info(info).title(TextStr(title));
        Ok(pdf.finish())
    }
}

fn font_name(face: Face) -> String {
    format!("F{face}")
}

fn write_font(pdf: &mut Pdf, face: Face, used: &UsedFont, ids: [Ref; 5]) -> Result<(), String> {
    let [font, cid_font, descriptor, file, to_unicode] = ids;
    let typeface = typeface::face(face);
    // A subset's name begins with six letters of its own (ISO 32000-1, 9.6.4).
    let name = format!("MARQUE+{}", typeface.name);
    let name = Name(name.as_bytes());
    pdf.type0_font(font)
        .base_font(name)
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(cid_font)
        .to_unicode(to_unicode);
    let mut cid = pdf.cid_font(cid_font);
    cid.subtype(CidFontType::Type2)
        .base_font(name)
        .system_info(IDENTITY)
        .font_descriptor(descriptor)
        .default_width(0.0)
        .cid_to_gid_map_predefined(Name(b"Identity"));
    let mut widths = cid.widths();
    for (id, (width, _)) in &used.shown {
        widths.consecutive(*id, [width * 1000.0]);
    }
    widths.finish();
    cid.finish();
    pdf.font_descriptor(descriptor)
        .name(name)
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(-1000.0, DESCENT, 3000.0, ASCENT))
        .italic_angle(0.0)
        .ascent(ASCENT)
        .descent(DESCENT)
        .cap_height(ASCENT)
        .stem_v(80.0)
        .font_file2(file);
    let glyphs =
        subset(typeface.file, 0, &used.glyphs).map_err(|error| format!("{}: {error:?}", typeface.name))?;
    let length = i32::try_from(glyphs.len()).unwrap_or(i32::MAX);
    pdf.stream(file, &compressed(&glyphs, Compression::fast()))
        .filter(Filter::FlateDecode)
        .pair(Name(b"Length1"), length);
    let mut cmap = UnicodeCmap::new(Name(b"Custom"), IDENTITY);
    for (id, (_, text)) in used.shown.iter().filter(|(_, (_, text))| !text.is_empty()) {
        cmap.pair_with_multiple(*id, text.chars());
    }
    pdf.stream(to_unicode, &compressed(&cmap.finish(), Compression::fast())).filter(Filter::FlateDecode);
    Ok(())
}
