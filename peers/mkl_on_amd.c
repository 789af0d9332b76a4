/*
 * Lets the MKL inside PyTorch take its AVX2 and AVX-512 kernels on an AMD processor.
 *
 * MKL asks this function whether the processor is Intel's and takes a slow path where it is not. PyTorch's own
 * wheels are measured with it ("lifted") and without it ("stock"): a comparison against the stock wheel alone would
 * flatter the other side on AMD. On Intel processors it changes nothing.
 *
 *   cc -O2 -shared -fPIC -o libmkl_on_amd.so mkl_on_amd.c
 *   LD_PRELOAD=$PWD/libmkl_on_amd.so python bench.py --arch ViT-B-32 --mode train
 */
int mkl_serv_intel_cpu_true(void) { return 1; }
