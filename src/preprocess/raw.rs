//! Frames as a camera gives them: RGB24, GREY, YUYV and MJPEG (names of V4L2's pixel formats).

use super::{Image, PreprocessError, check_size, decode};

/// Layout of a frame in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Three bytes a pixel.
    Rgb24,
    /// One byte of brightness a pixel.
    Grey,
    /// Two pixels in four bytes: Y0 Cb Y1 Cr (BT.601, limited range, as UVC cameras send it).
    Yuyv,
    /// A JPEG file.
    Mjpeg,
}

impl Layout {
    /// As V4L2's documentation calls it, but for RGB24, whose name in options is short.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Rgb24 => "RGB",
            Layout::Grey => "GREY",
            Layout::Yuyv => "YUYV",
            Layout::Mjpeg => "MJPEG",
        }
    }

    /// 0 for MJPEG, which has no fixed number.
    pub fn bytes_a_pixel(self) -> usize {
        match self {
            Layout::Rgb24 => 3,
            Layout::Yuyv => 2,
            Layout::Grey => 1,
            Layout::Mjpeg => 0,
        }
    }
}

/// A frame of `width` x `height` without gaps between its rows; for MJPEG the file itself says its size.
pub fn to_image(
    layout: Layout,
    width: u32,
    height: u32,
    bytes: &[u8],
) -> Result<Image, PreprocessError> {
    if layout == Layout::Mjpeg {
        return decode(bytes);
    }
    check_size(width.into(), height.into())?;
    let expected = u64::from(width) * u64::from(height) * layout.bytes_a_pixel() as u64;
    if bytes.len() as u64 != expected {
        return Err(PreprocessError::FrameSize {
            layout: layout.name(),
            width,
            height,
            expected,
            got: bytes.len() as u64,
        });
    }
    let rgb = match layout {
        Layout::Rgb24 | Layout::Mjpeg => bytes.to_vec(),
        Layout::Grey => bytes.iter().flat_map(|&y| [y; 3]).collect(),
        Layout::Yuyv if width % 2 == 1 => return Err(PreprocessError::OddWidth { width }),
        Layout::Yuyv => bytes
            .chunks_exact(4)
            .flat_map(|pair| {
                let (cb, cr) = (pair[1], pair[3]);
                [rgb(pair[0], cb, cr), rgb(pair[2], cb, cr)]
            })
            .flatten()
            .collect(),
    };
    Ok(Image { width, height, rgb })
}

/// BT.601 with limited range: the factors 1.164, 1.596, 0.813, 0.391 and 2.018 of ITU-R BT.601-7, in 1/256.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let y = 298 * (i32::from(y) - 16) + 128;
    let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
    let level = |sum: i32| (sum >> 8).clamp(0, 255) as u8;
    [
        level(y + 409 * cr),
        level(y - 100 * cb - 208 * cr),
        level(y + 516 * cb),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuyv_gives_black_white_and_the_primaries() {
        assert_eq!(rgb(16, 128, 128), [0, 0, 0]);
        assert_eq!(rgb(235, 128, 128), [255, 255, 255]);
        // 100 % red in limited-range BT.601 is (81, 90, 240).
        let red = rgb(81, 90, 240);
        assert!(red[0] >= 253 && red[1] <= 2 && red[2] <= 2, "{red:?}");
    }

    #[test]
    fn a_frame_of_the_wrong_length_names_both_lengths() {
        let error = to_image(Layout::Yuyv, 16, 8, &[0; 255]).unwrap_err();
        assert!(
            error.to_string().contains("has 256 bytes, 255 came"),
            "{error}"
        );
    }

    #[test]
    fn grey_and_rgb_are_taken_as_they_are() {
        let grey = to_image(Layout::Grey, 8, 8, &[9; 64]).unwrap();
        assert_eq!(grey, to_image(Layout::Rgb24, 8, 8, &[9; 192]).unwrap());
        assert_eq!(
            to_image(Layout::Yuyv, 9, 8, &[0; 144]),
            Err(PreprocessError::OddWidth { width: 9 })
        );
        assert!(to_image(Layout::Grey, 0, 0, &[]).is_err());
        assert!(to_image(Layout::Mjpeg, 8, 8, &[1, 2, 3]).is_err());
    }
}
