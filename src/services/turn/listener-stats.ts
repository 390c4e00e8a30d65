/** What a listener has done, in numbers. */
export interface ListenerStats {
  readonly name: string
  /** Live allocations. */
  readonly connections: number
  /** Allocations since it was opened. */
  readonly connectionsTotal: number
  /** Messages and bytes from clients. */
  readonly rx: { readonly packets: number; readonly bytes: number }
  /** Messages and bytes to clients. */
  readonly tx: { readonly packets: number; readonly bytes: number }
}
