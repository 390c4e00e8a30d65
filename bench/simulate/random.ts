/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d_2b_79_f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How many of something happen when `mean` do on average. */
export function poisson(mean: number, random: () => number): number {
  if (mean > 50) {
    const [a, b] = [random() || 1e-9, random()]
    const normal = Math.sqrt(-2 * Math.log(a)) * Math.cos(2 * Math.PI * b)
    return Math.max(0, Math.round(mean + normal * Math.sqrt(mean)))
  }
  const end = Math.exp(-mean)
  let count = 0
  for (let product = random(); product > end; product *= random()) count++
  return count
}
