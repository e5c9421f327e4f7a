//! A poster: decoded, rotated upright, scaled to two sizes and encoded again, so that only the pixels remain.

use std::io::Cursor;

use bus::contract::media::{MediaKind, Rejection};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

/// Most pixels that are decoded. The header is checked first: a small file could decompress into all memory.
const PIXELS_MAX: u64 = 24_000_000;
/// Bytes that a decoder may allocate: four a pixel, twice.
const DECODER_BYTES_MAX: u64 = 2 * 4 * PIXELS_MAX;
/// Pixels of the two sizes: for a phone's whole screen at three pixels a point, and for lists.
const LARGE: (u32, u32) = (1_000, 1_500);
const SMALL: (u32, u32) = (400, 600);
/// Of 100. A higher quality makes larger files without a visible difference.
const QUALITY: u8 = 85;

/// A poster as it is stored: JPEG.
pub struct Picture {
    pub large: Vec<u8>,
    pub small: Vec<u8>,
    /// Pixels of `large`.
    pub width: u32,
    pub height: u32,
}

impl Picture {
    pub fn decode(bytes: &[u8]) -> Result<Self, Rejection> {
        let unsupported = Rejection::Type(MediaKind::Poster);
        let mut reader =
            ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| Rejection::Broken)?;
        if !matches!(reader.format(), Some(ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) {
            return Err(unsupported);
        }
        let mut limits = Limits::default();
        limits.max_alloc = Some(DECODER_BYTES_MAX);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|_| Rejection::Broken)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > PIXELS_MAX {
            return Err(Rejection::Pixels);
        }
        let orientation = decoder.orientation().map_err(|_| Rejection::Broken)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(|_| Rejection::Broken)?;
        picture.apply_orientation(orientation);
        let large = shrink(&picture, LARGE);
        let small = shrink(&large, SMALL);
        let (width, height) = (large.width(), large.height());
        Ok(Self { large: jpeg(&large)?, small: jpeg(&small)?, width, height })
    }
}

/// Scales the picture down to fit a size, keeping its proportions. A smaller one is not enlarged.
fn shrink(picture: &DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    if picture.width() <= width && picture.height() <= height {
        return picture.clone();
    }
    picture.resize(width, height, FilterType::CatmullRom)
}

fn jpeg(picture: &DynamicImage) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    opaque(picture).write_with_encoder(encoder).map_err(|_| Rejection::Broken)?;
    Ok(bytes)
}

/// JPEG has no transparency: transparent pixels become white.
fn opaque(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let pixels = picture.to_rgba8();
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [r, g, b, a] = pixels.get_pixel(x, y).0;
        let over = |c: u8| ((u16::from(c) * u16::from(a) + 255 * (255 - u16::from(a))) / 255) as u8;
        image::Rgb([over(r), over(g), over(b)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgba, RgbaImage};

    fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn size(jpeg: &[u8]) -> (u32, u32) {
        let stored = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg).unwrap();
        (stored.width(), stored.height())
    }

    #[test]
    fn a_poster_is_stored_in_two_sizes_with_its_proportions() {
        let wide = DynamicImage::ImageRgb8(RgbImage::new(3_000, 1_500));
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let picture = Picture::decode(&encoded(&wide, format)).unwrap();
            assert_eq!((size(&picture.large), size(&picture.small)), ((1_000, 500), (400, 200)));
            assert_eq!((picture.width, picture.height), (1_000, 500));
        }
    }

    #[test]
    fn a_small_poster_does_not_grow_and_clear_pixels_become_white() {
        let clear = DynamicImage::ImageRgba8(RgbaImage::from_pixel(40, 60, Rgba([255, 0, 0, 0])));
        let picture = Picture::decode(&encoded(&clear, ImageFormat::Png)).unwrap();
        assert_eq!(size(&picture.large), (40, 60));
        let stored = image::load_from_memory(&picture.large).unwrap().to_rgb8();
        assert!(stored.pixels().all(|pixel| pixel.0.iter().all(|c| *c > 250)));
    }

    #[test]
    fn a_cameras_metadata_is_removed_and_the_picture_is_upright() {
        let lying = encoded(&DynamicImage::ImageRgb8(RgbImage::new(60, 40)), ImageFormat::Jpeg);
        // An EXIF segment with the orientation 6 (rotate by 90 degrees) and a maker's note.
        let tiff = [
            b"Exif\0\0II*\0\x08\0\0\0".as_slice(),
            b"\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
            b"SECRET-PLACE",
        ]
        .concat();
        let length = u16::try_from(tiff.len() + 2).unwrap().to_be_bytes();
        let photo = [&lying[..2], &[0xff, 0xe1], &length, &tiff, &lying[2..]].concat();
        let picture = Picture::decode(&photo).unwrap();
        assert_eq!(size(&picture.large), (40, 60));
        let holds = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        assert!(holds(&photo, b"SECRET-PLACE"), "the test's photo has a note");
        assert!(!holds(&picture.large, b"SECRET-PLACE") && !holds(&picture.large, b"Exif"));
    }

    #[test]
    fn bombs_scripts_and_damaged_pictures_are_refused() {
        let mut bomb = encoded(&DynamicImage::ImageRgb8(RgbImage::new(8, 8)), ImageFormat::Png);
        // Width and height stand in the header, with a checksum over it.
        bomb[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
        let checksum = crc32(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&checksum);
        assert_eq!(Picture::decode(&bomb).err(), Some(Rejection::Pixels));
        let unsupported = Some(Rejection::Type(MediaKind::Poster));
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
        assert_eq!(Picture::decode(svg).err(), unsupported);
        assert_eq!(Picture::decode(b"GIF89a\x01\0\x01\0\0\0\0").err(), unsupported);
        let whole = encoded(&DynamicImage::ImageRgb8(RgbImage::new(64, 64)), ImageFormat::Png);
        assert_eq!(Picture::decode(&whole[..whole.len() / 2]).err(), Some(Rejection::Broken));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        };
        !bytes.iter().fold(!0, step)
    }
}
