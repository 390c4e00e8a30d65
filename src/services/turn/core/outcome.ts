import type { StunWriter } from '../../../protocols/stun/index.ts'

/** A refusal: its code, and attributes that go with it. */
export interface Refusal {
  readonly code: number
  readonly add?: (writer: StunWriter) => void
}

/** What a method answers: a refusal's code, or what its success holds. */
export type Outcome = number | Refusal | ((writer: StunWriter) => void)
