/** Redis in each of its forms: one server, Sentinel, Cluster. */
export type * from './contract.ts'
