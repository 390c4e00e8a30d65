/** The `[fleet]` section, defaults filled in; what each key means is said in `fleet-schema.ts`. */
export interface FleetConfig {
  /** Absent: made at each start. */
  readonly id?: string | undefined
  readonly secret?: string | undefined
  readonly leaseSeconds: number
}
