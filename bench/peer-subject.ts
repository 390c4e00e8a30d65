import { fileURLToPath } from 'node:url'
import { Child } from './child.ts'
import { startDeadlineMs, type Subject, type SubjectKind } from './subject.ts'

/** A relay of `peers/` in TypeScript; `option` says how the load is told its port. */
export function nodePeer(
  name: string,
  file: string,
  options: readonly string[],
  option: (port: string) => readonly string[],
): SubjectKind {
  return { name, start: (originPort) => startNodePeer(file, [String(originPort), ...options], option) }
}

/** Starts a program of `peers/` in TypeScript. */
export function startNodePeer(
  file: string,
  args: readonly string[],
  option: (port: string) => readonly string[],
  nodeOptions: readonly string[] = [],
): Promise<Subject> {
  const path = fileURLToPath(new URL(`peers/${file}`, import.meta.url))
  return startPeer(process.execPath, [...nodeOptions, '--import', 'tsx', path, ...args], option)
}

/** A built relay for datagrams. */
export function builtPeer(name: string, executable: string): SubjectKind {
  return { name, start: (originPort) => startPeer(executable, [String(originPort)], relayOption) }
}

/** Nothing between: the viewers meet the origin itself. What it shows is what the load by itself takes. */
export const direct: SubjectKind = {
  name: 'direct',
  start: (originPort) =>
    Promise.resolve({
      children: [],
      loadOptions: relayOption(String(originPort)),
      close: () => Promise.resolve(),
    }),
}

export function relayOption(port: string): readonly string[] {
  return ['--relay', `127.0.0.1:${port}`]
}

/** A peer prints the port on which it listens. */
export async function startPeer(
  command: string,
  args: readonly string[],
  option: (port: string) => readonly string[],
): Promise<Subject> {
  const child = new Child(command, args)
  try {
    const port = await child.nextLine(startDeadlineMs)
    return { children: [child], loadOptions: option(port), close: () => child.stop() }
  } catch (error) {
    await child.stop()
    throw error
  }
}
