/** Counts of what users hold, over all gateways of a fleet together. */
export { SharedCounts, type SharedCountsOptions } from './shared-counts.ts'
