import type { Access } from './contract.ts'

/** Lets everybody in, for gateways without rules and for tests. */
export const openAccess: Access = {
  admit: async () => ({ limits: [], signal: new AbortController().signal, end: () => {} }),
}
