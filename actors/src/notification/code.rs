//! The QR code of a ticket: its modules, and a picture of them for a mail.

use png::{BitDepth, ColorType, Encoder};
use qrcode::canvas::{Canvas, MaskPattern};
use qrcode::{Color, EcLevel, QrResult, bits, ec};

/// Light modules around a QR code that scanners need (ISO/IEC 18004).
pub const QUIET: usize = 4;
/// Pixels of a module: whole ones, so that its edges stay sharp when a mail program doubles them.
const PIXELS: usize = 5;

/// The modules of a code, row by row; it is square.
pub struct Code {
    pub dark: Vec<bool>,
    pub side: usize,
}

impl Code {
    /// `QrCode` itself tries all eight masks, which takes milliseconds, more than all the rest of a mail. That is for data with
    /// patterns of their own; a signed token is as good as random under any mask.
    pub fn of(token: &str) -> QrResult<Self> {
        const LEVEL: EcLevel = EcLevel::M;
        let bits = bits::encode_auto(token.as_bytes(), LEVEL)?;
        let version = bits.version();
        let (data, correction) = ec::construct_codewords(&bits.into_bytes(), version, LEVEL)?;
        let mut canvas = Canvas::new(version, LEVEL);
        canvas.draw_all_functional_patterns();
        canvas.draw_data(&data, &correction);
        canvas.apply_mask(MaskPattern::Checkerboard);
        let dark: Vec<bool> = canvas.into_colors().into_iter().map(|colour| colour == Color::Dark).collect();
        let side = dark.len().isqrt();
        Ok(Self { dark, side })
    }

    /// The code in black on white, with its quiet zone: white in dark mode, too, or no scanner reads it.
    pub fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let side = (self.side + 2 * QUIET) * PIXELS;
        let row_bytes = side.div_ceil(8);
        let mut rows = vec![0xff_u8; row_bytes * side];
        for (index, _) in self.dark.iter().enumerate().filter(|(_, dark)| **dark) {
            let (left, top) = ((index % self.side + QUIET) * PIXELS, (index / self.side + QUIET) * PIXELS);
            for y in top..top + PIXELS {
                for x in left..left + PIXELS {
                    rows[y * row_bytes + x / 8] &= !(0x80 >> (x % 8));
                }
            }
        }
        let mut picture = Vec::new();
        let pixels = u32::try_from(side).unwrap_or(u32::MAX);
        let mut encoder = Encoder::new(&mut picture, pixels, pixels);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&rows)?;
        writer.finish()?;
        Ok(picture)
    }
}
