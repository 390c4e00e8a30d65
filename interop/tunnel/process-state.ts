import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Program } from '../harness/program.ts'
import { until } from '../harness/until.ts'

/** Makes a program of ours able to tell `heldBytes`. */
export const tellingMemory: Readonly<Record<string, string>> = {
  NODE_OPTIONS: `--import ${join(import.meta.dirname, 'report-memory.mjs')}`,
}

/** What a program of ours holds when its garbage has been collected, in bytes; it was started `tellingMemory`. */
export async function heldBytes(program: Program): Promise<number> {
  const file = join(tmpdir(), `sluice-held-${program.pid}`)
  program.kill('SIGUSR2')
  const report = await until('a report of memory', () => readFileSync(file, 'utf8'))
  rmSync(file)
  return Number(report)
}

/** Descriptors that a process has open. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Memory of a process that is resident, in bytes. */
export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  if (match === null) throw new Error(`no memory of process ${pid}`)
  return Number(match[1]) * 1024
}
