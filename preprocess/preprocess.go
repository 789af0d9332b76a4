// Package preprocess turns image files into the pixels a model sees.
//
// Decode and DecodeFile read a file as Pillow's convert("RGB") would, Transform.Apply resizes the shorter side with Pillow's
// antialiased bicubic filter on 8-bit pixels, crops the centre and normalises, and Augmentation.Apply does so with the random
// crop of training. Results equal those of Pillow 13.0 and torchvision 0.29 to the bit, JPEG (libjpeg-turbo 3.2) and lossy WebP
// (libwebp 1.6) included.
//
// Not read, with an error: JPEG with arithmetic coding or 12 bits, TIFF with JPEG inside or CMYK, BMP with run lengths, animated
// WebP, PGM and PPM with more than 8 bits or in text form. A damaged file is an error, where Pillow may return what it could
// read.
package preprocess

// Image is an 8-bit RGB picture: Pix holds H rows of W pixels of 3 bytes, [H, W, 3].
type Image struct {
	W, H int
	Pix  []uint8
}
