import { gzipSync } from 'node:zlib'
import {
  Function as PprofFunction,
  Line,
  Location,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format'

/** What a sample counts: `cpu` in `nanoseconds`. */
export interface SampleType {
  readonly type: string
  readonly unit: string
}

/** A place in code. */
export interface Frame {
  readonly name: string
  /** Empty for what has no file. */
  readonly file: string
  /** From 1; 0 when unknown. */
  readonly line: number
}

/** Times of a profile. */
export interface ProfileTimes {
  /** Wall time of its begin, in milliseconds. */
  readonly startMs: number
  readonly durationMs: number
}

/**
 * A profile in pprof's format (profile.proto), as `go tool pprof` reads it. Samples of equal stacks are added up, which is what
 * makes two profiles comparable.
 */
export class PprofProfile {
  readonly #strings = new StringTable()
  readonly #sampleTypes: readonly ValueType[]
  readonly #period: { readonly type: ValueType; readonly value: number }
  readonly #functions = new Map<string, PprofFunction>()
  readonly #locations = new Map<string, Location>()
  readonly #samples = new Map<string, { readonly locationId: number[]; readonly value: number[] }>()

  /** `period`: between two samples, in the unit of the last type. */
  constructor(types: readonly SampleType[], period: SampleType & { readonly value: number }) {
    this.#sampleTypes = types.map((type) => this.#valueType(type))
    this.#period = { type: this.#valueType(period), value: period.value }
  }

  /** `stack`: the innermost frame first. One value for each sample type; fractions are rounded. */
  add(stack: readonly Frame[], values: readonly number[]): void {
    const locationId = stack.map((frame) => this.#location(frame))
    const key = locationId.join()
    const known = this.#samples.get(key)
    const whole = values.map(Math.round)
    if (known === undefined) this.#samples.set(key, { locationId, value: whole })
    else for (const [i, value] of whole.entries()) known.value[i] = (known.value[i] ?? 0) + value
  }

  /** Compressed, as it is served. */
  encode({ startMs, durationMs }: ProfileTimes): Buffer {
    const profile = new Profile({
      sampleType: [...this.#sampleTypes],
      sample: [...this.#samples.values()].map((sample) => new Sample(sample)),
      location: [...this.#locations.values()],
      function: [...this.#functions.values()],
      stringTable: this.#strings,
      timeNanos: BigInt(Math.round(startMs)) * 1_000_000n,
      durationNanos: Math.round(durationMs * 1e6),
      periodType: this.#period.type,
      period: this.#period.value,
    })
    return gzipSync(profile.encode())
  }

  #valueType({ type, unit }: SampleType): ValueType {
    return new ValueType({ type: this.#strings.dedup(type), unit: this.#strings.dedup(unit) })
  }

  #location({ name, file, line }: Frame): number {
    const key = `${name}\0${file}\0${line}`
    const known = this.#locations.get(key)
    if (known !== undefined) return Number(known.id)
    const id = this.#locations.size + 1
    const functionId = this.#function(name, file)
    this.#locations.set(key, new Location({ id, line: [new Line({ functionId, line })] }))
    return id
  }

  #function(name: string, file: string): number {
    const key = `${name}\0${file}`
    const known = this.#functions.get(key)
    if (known !== undefined) return Number(known.id)
    const id = this.#functions.size + 1
    const text = this.#strings.dedup(name)
    this.#functions.set(
      key,
      new PprofFunction({ id, name: text, systemName: text, filename: this.#strings.dedup(file) }),
    )
    return id
  }
}
