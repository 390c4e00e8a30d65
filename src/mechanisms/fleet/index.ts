/** The gateways that act as one. */
export type * from './contract.ts'
