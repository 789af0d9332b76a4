package preprocess

// Constants of Loeffler, Ligtenberg and Moschytz's transform (1989) with 13 fractional bits, as libjpeg's accurate integer method
// has them. The name is the value.
const (
	dctBits     = 13
	passBits    = 2 // more precision between the passes
	f0_298631   = 2446
	f0_390180   = 3196
	f0_541196   = 4433
	f0_765366   = 6270
	f0_899976   = 7373
	f1_175875   = 9633
	f1_501321   = 12299
	f1_847759   = 15137
	f1_961570   = 16069
	f2_053119   = 16819
	f2_562915   = 20995
	f3_072711   = 25172
	firstShift  = dctBits - passBits
	secondShift = dctBits + passBits + 3
)

// inverseDCT transforms a block of dequantized coefficients to 8 x 8 samples, columns first, with libjpeg's rounding.
func inverseDCT(b *[64]int32, dst []uint8, stride int) {
	for i := range 8 {
		c := b[i : i+57]
		if c[8]|c[16]|c[24]|c[32]|c[40]|c[48]|c[56] == 0 {
			v := c[0] << passBits
			c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56] = v, v, v, v, v, v, v, v
			continue
		}
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(c[0], c[8], c[16], c[24], c[32], c[40], c[48], c[56])
		const r = 1 << (firstShift - 1)
		c[0], c[56] = (e0+o3+r)>>firstShift, (e0-o3+r)>>firstShift
		c[8], c[48] = (e1+o2+r)>>firstShift, (e1-o2+r)>>firstShift
		c[16], c[40] = (e2+o1+r)>>firstShift, (e2-o1+r)>>firstShift
		c[24], c[32] = (e3+o0+r)>>firstShift, (e3-o0+r)>>firstShift
	}
	for i := range 8 {
		c := (*[8]int32)(b[8*i:])
		e0, e1, e2, e3, o0, o1, o2, o3 := butterfly(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7])
		const r = 1<<(secondShift-1) + 128<<secondShift
		d := (*[8]uint8)(dst[i*stride:])
		d[0], d[7] = clamp((e0+o3+r)>>secondShift), clamp((e0-o3+r)>>secondShift)
		d[1], d[6] = clamp((e1+o2+r)>>secondShift), clamp((e1-o2+r)>>secondShift)
		d[2], d[5] = clamp((e2+o1+r)>>secondShift), clamp((e2-o1+r)>>secondShift)
		d[3], d[4] = clamp((e3+o0+r)>>secondShift), clamp((e3-o0+r)>>secondShift)
	}
}

// butterfly is the one-dimensional transform before the last sums: e0 to e3 from the even inputs, o0 to o3 from the odd.
func butterfly(x0, x1, x2, x3, x4, x5, x6, x7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z := (x2 + x6) * f0_541196
	t2, t3 := z-x6*f1_847759, z+x2*f0_765366
	t0, t1 := (x0+x4)<<dctBits, (x0-x4)<<dctBits
	e0, e3, e1, e2 = t0+t3, t0-t3, t1+t2, t1-t2

	z1, z2, z3, z4 := -(x7+x1)*f0_899976, -(x5+x3)*f2_562915, x7+x3, x5+x1
	z5 := (z3 + z4) * f1_175875
	z3, z4 = z5-z3*f1_961570, z5-z4*f0_390180
	o0 = x7*f0_298631 + z1 + z3
	o1 = x5*f2_053119 + z2 + z4
	o2 = x3*f3_072711 + z2 + z3
	o3 = x1*f1_501321 + z1 + z4
	return
}
