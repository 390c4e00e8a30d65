/** The `[fleet]` section, defaults filled in; what each key means is said in `fleet-schema.ts`. */
export interface FleetConfig {
  /** What its id begins with. Absent: the host name. */
  readonly id?: string | undefined
  readonly secret?: string | undefined
  readonly leaseSeconds: number
}
