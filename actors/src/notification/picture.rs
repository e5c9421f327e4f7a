//! The cinema's logo as a PDF has it: scaled to what print shows, its colours and its transparency as two images.

use std::io::Cursor;

use flate2::Compression;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageReader, ImageResult, Limits, Rgba};
use pdf_writer::{Filter, Finish, Pdf, Ref};

use super::stream::compressed;
use crate::config::Logo;

/// Pixels at most: some 250 an inch in the room that a ticket has for a logo. They bound the bytes of a PDF.
const SIZE_MAX: (u32, u32) = (480, 120);
/// Pixels of a side that are decoded: a small file could decompress into all memory.
const SIDE_MAX: u32 = 4_000;
/// Bytes that a decoder may allocate: four a pixel, twice.
const DECODER_BYTES_MAX: u64 = 2 * 4 * (SIDE_MAX as u64) * (SIDE_MAX as u64);

pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// Red, green and blue of each pixel, compressed.
    colours: Vec<u8>,
    /// The opacity of each pixel, compressed; `None` where all are opaque.
    opacities: Option<Vec<u8>>,
}

impl Picture {
    /// The logo's pixels, or why they cannot be read.
    pub fn of(logo: &Logo) -> Result<Self, String> {
        let mut decoded = decode(&logo.content).map_err(|error| error.to_string())?;
        if decoded.width() > SIZE_MAX.0 || decoded.height() > SIZE_MAX.1 {
            decoded = decoded.resize(SIZE_MAX.0, SIZE_MAX.1, FilterType::CatmullRom);
        }
        let pixels = decoded.to_rgba8();
        let colour = |pixel: &Rgba<u8>| [pixel.0[0], pixel.0[1], pixel.0[2]];
        let colours: Vec<u8> = pixels.pixels().flat_map(colour).collect();
        let opacities: Vec<u8> = pixels.pixels().map(|pixel| pixel.0[3]).collect();
        let is_opaque = opacities.iter().all(|opacity| *opacity == u8::MAX);
        Ok(Self {
            width: pixels.width(),
            height: pixels.height(),
            colours: compressed(&colours, Compression::best()),
            opacities: (!is_opaque).then(|| compressed(&opacities, Compression::best())),
        })
    }

    /// Writes it as the object `id`; `mask` is the object of its opacities.
    pub fn write(&self, pdf: &mut Pdf, id: Ref, mask: Ref) {
        let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
        let (width, height) = (side(self.width), side(self.height));
        let mut image = pdf.image_xobject(id, &self.colours);
        image.width(width).height(height).bits_per_component(8).filter(Filter::FlateDecode);
        image.color_space().device_rgb();
        if self.opacities.is_some() {
            image.s_mask(mask);
        }
        image.finish();
        if let Some(opacities) = &self.opacities {
            let mut image = pdf.image_xobject(mask, opacities);
            image.width(width).height(height).bits_per_component(8).filter(Filter::FlateDecode);
            image.color_space().device_gray();
        }
    }
}

fn decode(content: &[u8]) -> ImageResult<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(content)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODER_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}
