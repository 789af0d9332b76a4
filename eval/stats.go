package eval

import "math"

// z is the normal quantile of a two-sided 95 % interval.
const z = 1.959963984540054

// Accuracy is a top-1 accuracy, as a fraction, of N images, with its 95 % interval.
type Accuracy struct {
	Top1 float64
	N    int
	CI95 [2]float64
	// variance of Top1, for means over tasks.
	variance float64
}

// Wilson returns the 95 % score interval of a proportion p of n independent trials (Wilson 1927). n need not be whole:
// an effective sample size gives the interval of clustered data.
func Wilson(p, n float64) [2]float64 {
	if n <= 0 {
		return [2]float64{0, 1}
	}
	d := 1 + z*z/n
	mid := (p + z*z/(2*n)) / d
	half := z / d * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return [2]float64{math.Max(0, mid-half), math.Min(1, mid+half)}
}

// Score sums up which images were classified correctly. groups gives each image's cluster: views of one drawing are
// not independent, so the interval is Wilson's at the effective sample size n' = p(1-p)/v, where v is the
// cluster-robust variance of the mean; n' lies between the number of clusters and n.
func Score(correct []bool, groups []int) Accuracy {
	n := len(correct)
	if n == 0 {
		return Accuracy{CI95: [2]float64{0, 1}}
	}
	x := make([]float64, n)
	for i, c := range correct {
		if c {
			x[i] = 1
		}
	}
	p, v, clusters := clusterMean(x, groups)
	eff := float64(clusters)
	if v > 0 {
		eff = math.Min(float64(n), math.Max(eff, p*(1-p)/v))
	}
	a := Accuracy{Top1: p, N: n, CI95: Wilson(p, eff)}
	// A task answered all right or all wrong has no observed variance; half its interval stands for 1.96 of them.
	a.variance = math.Max(p*(1-p)/eff, math.Pow((a.CI95[1]-a.CI95[0])/(2*z), 2))
	return a
}

// clusterMean returns the mean of x, the cluster-robust variance of that mean and the number of clusters.
func clusterMean(x []float64, groups []int) (mean, variance float64, clusters int) {
	for _, v := range x {
		mean += v
	}
	n := float64(len(x))
	mean /= n
	slot := make(map[int]int, len(x))
	var sums []float64 // in order of first appearance: float sums must not depend on map order
	for i, v := range x {
		s, ok := slot[groups[i]]
		if !ok {
			s = len(sums)
			slot[groups[i]] = s
			sums = append(sums, 0)
		}
		sums[s] += v - mean
	}
	clusters = len(sums)
	if clusters < 2 {
		return mean, 0, clusters
	}
	for _, s := range sums {
		variance += s * s
	}
	g := float64(clusters)
	return mean, variance / (n * n) * g / (g - 1), clusters
}

// Difference is the accuracy of b minus that of a on the same images, with its 95 % interval.
type Difference struct {
	Value    float64
	CI95     [2]float64
	variance float64
}

// Paired compares two classifiers image by image. The interval is Bonett and Price's (2012) for paired proportions,
// one added to each discordant count, with its standard error widened by the design effect of the clusters.
func Paired(a, b []bool, groups []int) Difference {
	n := len(a)
	if n == 0 {
		return Difference{CI95: [2]float64{-1, 1}}
	}
	d := make([]float64, n)
	var gained, lost float64
	for i := range a {
		switch {
		case b[i] && !a[i]:
			d[i], gained = 1, gained+1
		case a[i] && !b[i]:
			d[i], lost = -1, lost+1
		}
	}
	m := float64(n) + 2
	p, q := (gained+1)/m, (lost+1)/m
	v := (p + q - (p-q)*(p-q)) / m
	mean, robust, _ := clusterMean(d, groups)
	var simple float64
	for _, x := range d {
		simple += (x - mean) * (x - mean)
	}
	simple /= float64(n) * float64(n)
	if simple > 0 && robust > simple {
		v *= robust / simple
	}
	h := z * math.Sqrt(v)
	return Difference{Value: mean, CI95: [2]float64{math.Max(-1, p-q-h), math.Min(1, p-q+h)}, variance: v}
}

// MeanAccuracy is the unweighted mean over tasks, which are taken as fixed; the interval is normal.
func MeanAccuracy(as []Accuracy) Accuracy {
	var m Accuracy
	for _, a := range as {
		m.Top1 += a.Top1
		m.N += a.N
		m.variance += a.variance
	}
	t := float64(len(as))
	if t == 0 {
		return m
	}
	m.Top1 /= t
	m.variance /= t * t
	h := z * math.Sqrt(m.variance)
	m.CI95 = [2]float64{math.Max(0, m.Top1-h), math.Min(1, m.Top1+h)}
	if len(as) == 1 {
		m.CI95 = as[0].CI95
	}
	return m
}

// MeanDifference is the unweighted mean of paired differences over tasks; the interval is normal.
func MeanDifference(ds []Difference) Difference {
	var m Difference
	for _, d := range ds {
		m.Value += d.Value
		m.variance += d.variance
	}
	t := float64(len(ds))
	if t == 0 {
		return m
	}
	m.Value /= t
	m.variance /= t * t
	h := z * math.Sqrt(m.variance)
	m.CI95 = [2]float64{m.Value - h, m.Value + h}
	if len(ds) == 1 {
		m.CI95 = ds[0].CI95
	}
	return m
}
