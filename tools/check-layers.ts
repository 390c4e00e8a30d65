/**
 * `npm run check:layers`: fails when an import in `src` points up, sideways or out of the house, and when a
 * protocol keeps time, rolls dice or reads the environment by itself. Fails too when it looked at nothing.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cruise } from 'dependency-cruiser'
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config'
import { findImpureUses } from './impure-globals.ts'
import { layerRules } from './layer-rules.ts'

/** What a check looked at, and what it found. */
export interface LayerReport {
  readonly modules: number
  readonly dependencies: number
  /** One line each: `rule: from -> to`. */
  readonly problems: readonly string[]
}

/** Checks the `src` folder of the repository at `root`. Looking at nothing is a problem as well. */
export async function checkLayers(root: string): Promise<LayerReport> {
  const { output } = await cruise(
    ['src'],
    {
      baseDir: root,
      validate: true,
      ruleSet: { forbidden: [...layerRules] },
      doNotFollow: { path: 'node_modules' },
      tsPreCompilationDeps: true,
    },
    undefined,
    { tsConfig: extractTSConfig(join(root, 'tsconfig.build.json')) },
  )
  if (typeof output === 'string') throw new TypeError('dependency-cruiser gave a text instead of a result')
  const { summary } = output
  const modules = summary.totalCruised
  const dependencies = summary.totalDependenciesCruised ?? 0
  const problems = summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`)
  if (modules === 0 || dependencies === 0) {
    problems.push(`looked-at-nothing: ${modules} modules, ${dependencies} dependencies in ${root}`)
  }
  return { modules, dependencies, problems: [...problems, ...findImpureProtocols(root)] }
}

function findImpureProtocols(root: string): readonly string[] {
  return readdirSync(join(root, 'src/protocols'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !/\.(test|bench|testkit)\.ts$/.test(name))
    .flatMap((name) => {
      const file = `src/protocols/${name}`
      return findImpureUses(file, readFileSync(join(root, file), 'utf8')).map(
        ({ line, what }) => `protocols-are-pure: ${file}:${line} -> ${what}`,
      )
    })
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { modules, dependencies, problems } = await checkLayers(resolve(import.meta.dirname, '..'))
  for (const problem of problems) console.error(problem)
  console.log(`${modules} modules, ${dependencies} dependencies, ${problems.length} problems`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
