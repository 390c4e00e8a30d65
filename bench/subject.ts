import type { Child } from './child.ts'

/** What stands between the two ends of the load, running. */
export interface Subject {
  /** The processes whose cost is measured, added; of a tunnel its server and then its client. Nothing between is none. */
  readonly children: readonly Child[]
  /** Its Redis, where it has one. */
  readonly redis?: RedisReader
  /** What the load tool is told to find it. */
  readonly loadOptions: readonly string[]
  close(): Promise<void>
}

/** What a Redis and those who ask it have done so far. */
export interface RedisUse {
  /** Commands that were sent to it; undefined where nobody counts them. */
  readonly commands?: number
  /** Commands that it ran, those of its scripts and the scripts themselves included. */
  readonly calls: number
  readonly cpuSeconds: number
}

export interface RedisReader {
  read(): Promise<RedisUse>
}

/** One of the programs that carry the same load. */
export interface SubjectKind {
  readonly name: string
  /** Starts it for an origin that will listen on this port. */
  start(originPort: number): Promise<Subject>
}

/** How long a program may take until it is ready. */
export const startDeadlineMs = 15_000
