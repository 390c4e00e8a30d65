import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrpConfigError } from '../errors.ts'
import { renderTemplate } from './render.ts'

const env = { A: 'alpha', N: '5', E: '' }

function rendered(text: string): string {
  return renderTemplate(text, { env })
}

function failure(text: string): string {
  try {
    renderTemplate(text, { env, file: 'frpc.toml' })
  } catch (error) {
    if (error instanceof FrpConfigError && error.code === 'FRP_CONFIG_TEMPLATE') return error.message
    throw error
  }
  throw new Error('the template was carried out')
}

// What Go 1.26's text/template made of the same texts with frp's two functions; seen by running it.
const vectors: readonly (readonly [template: string, output: string])[] = [
  ['{{ .Envs.A }}', 'alpha'],
  ['{{ .Envs.X }}', '<no value>'],
  ['[{{ .Envs.E }}]', '[]'],
  ['{{ if .Envs.X }}y{{ else }}n{{ end }}', 'n'],
  ['{{ if eq .Envs.X "" }}y{{else}}n{{end}}', 'n'],
  ['{{ or .Envs.X "dflt" }}', 'dflt'],
  ['{{ print 1 2 "a" "b" 3 true nil }}', '1 2ab3 true <nil>'],
  ['{{ printf "%s-%v-%d-%q" .Envs.A 3 4 "x" }}', 'alpha-3-4-"x"'],
  ['{{ printf "%05d|%6s|%-6s|%t|%x" 42 "a" "b" true 255 }}', '00042|     a|b     |true|ff'],
  ['{{- range $i, $v := parseNumberRange "1-3,7" }}\n{{ $i }}={{ $v }}\n{{- end }}', '\n0=1\n1=2\n2=3\n3=7'],
  [
    '{{ range $_, $v := parseNumberRangePair "6-7" "8-9" -}}  {{ $v.First }}:{{ $v.Second }} {{ end }}',
    '6:8 7:9 ',
  ],
  ['{{range .Envs.X}}{{.}}{{else}}none{{end}}', 'none'],
  ['{{ range $k, $v := .Envs }}{{$k}}={{$v}},{{end}}', 'A=alpha,E=,N=5,'],
  ['{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $y := 3 }}{{ end }}{{ $x }}', '2'],
  ['{{ $v := 1 }}{{ range $v := parseNumberRange "7-8" }}{{ $v }}{{ end }}{{ $v }}', '781'],
  [
    '{{ range $v := parseNumberRange "1-5" }}{{ if eq $v 2 }}{{ continue }}{{ end }}{{ if eq $v 4 }}{{ break }}{{ end }}{{ $v }}{{ end }}',
    '13',
  ],
  ['{{- /* c */ -}} a', 'a'],
  ['{{ .Envs.A -}}\n\n  b {{- " c" -}} \t d', 'alphab cd'],
  ['{{-1}}', '-1'],
  ['{{ with $x := .Envs.E }}a{{ else with .Envs.A }}{{ . }}{{ end }}', 'alpha'],
  ['{{ index .Envs "A" }}|{{ index .Envs "X" }}|{{ index (parseNumberRange "4-6") 1 }}', 'alpha||5'],
  ['{{ (index (parseNumberRangePair "1" "2") 0).Second }}', '2'],
  ['{{ parseNumberRangePair "1-2" "3-4" }} {{ parseNumberRange "1-3" }}', '[{1 3} {2 4}] [1 2 3]'],
  ['{{ if and .Envs.A (eq .Envs.N "5") }}ok{{ else if .Envs.E }}b{{ end }}', 'ok'],
  ['{{if false}}a{{else if false}}b{{else}}c{{end}}', 'c'],
  ['{{ eq 1 2 3 1 }} {{ lt 1 2 }} {{ ge "a" "b" }} {{ not 0 }}', 'true true false true'],
  ['{{ 0x10 }} {{ 010 }} {{ 1_000 }} {{ `raw` }} {{ "q\\t\\u00e9" }}', '16 8 1000 raw q\té'],
  ['{{ 1 | print | print "x" }}', 'x1'],
  ['{{ range 3 }}{{ . }}{{ end }}', '012'],
  ['{{\n1\n}}', '1'],
  ['a}}', 'a}}'],
]

// What Go refuses too.
const refused: readonly string[] = [
  '{{ .Nope }}',
  '{{ .Envs.A.B }}',
  '{{ eq 1 "1" }}',
  '{{ lt true false }}',
  '{{ .Envs.A 1 }}',
  '{{ "a" "b" }}',
  '{{ nil }}',
  '{{ $x }}',
  '{{ $x = 1 }}',
  '{{ $x, $y := 1 }}',
  '{{ range $i, $v := parseNumberRange "1" }}{{ end }}{{ $i }}',
  '{{ range "ab" }}{{ end }}',
  '{{ end }}',
  '{{ if true }}',
  '{{ if }}{{ end }}',
  '{{if true}}a{{else}}b{{else}}c{{end}}',
  '{{ break }}',
  '{{ () }}',
  '{{ (1 }}',
  '{{ 1 ) }}',
  '{{ .Envs..A }}',
  '{{ .Envs.A-b }}',
  '{{ 12abc }}',
  '{{ "open }}',
  '{{ `open }}',
  '{{',
  '{{ /* x */}}',
  '{{ ne 1 2 3 }}',
  '{{ len 3 }}',
  '{{ index (parseNumberRange "1") 4 }}',
  '{{ parseNumberRange "a" }}',
  '{{ parseNumberRange "3-1" }}',
  '{{ parseNumberRangePair "1-2" "1" }}',
  '{{ template "x" }}',
]

describe('templates', () => {
  it.each(vectors)('%j gives what Go gives', (template, output) => {
    expect(rendered(template)).toBe(output)
  })

  it.each(refused)('%j is refused as by Go', (template) => {
    expect(failure(template)).toMatch(/^frpc\.toml:\d+: template, column \d+: /)
  })

  it('names line and column, and what is allowed instead', () => {
    expect(failure('a = 1\nb = "{{ html "x" }}"\n')).toBe(
      'frpc.toml:2: template, column 9: function "html" is not supported; allowed: and, eq, ge, gt, index, le, len, lt, ne, not, or, parseNumberRange, parseNumberRangePair, print, printf, println',
    )
    expect(failure('{{ .Env.A }}')).toContain('there is no .Env; allowed: Envs')
    expect(failure('{{ define "x" }}{{ end }}')).toContain('{{define}} is not supported; allowed: ')
    expect(failure('{{ 1.5 }}')).toContain('allowed: whole numbers')
    expect(failure('{{ printf "%f" 1 }}')).toContain('%f is not supported; allowed: %s')
  })

  it('ends templates that grow without end', () => {
    const loops = '{{ range 60000 }}'.repeat(2) + 'x' + '{{ end }}'.repeat(2)
    expect(failure(loops)).toContain('more than 2000000 steps')
    const doubling = `{{ $x := "0123456789" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}`
    expect(failure(doubling)).toContain('print makes a text that is too long')
    const output = `{{ range 60000 }}${'x'.repeat(1000)}{{ end }}`
    expect(failure(output)).toContain('more than 8388608 characters')
    expect(failure('{{ parseNumberRange "1-99999999" }}')).toContain('at most 65536')
    expect(failure('{{ printf "%99999d" 1 }}')).toContain('wider than 1000')
    expect(failure('{{ if true }}'.repeat(200))).toContain('more than 100 blocks')
    expect(failure(`{{ ${'('.repeat(100_000)} }}`)).toContain('too many parentheses')
  })

  it('leaves text without actions as it is', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('{{')),
        (text) => rendered(text) === text,
      ),
    )
  })

  it('never throws anything but its own error', () => {
    const words = fc.constantFrom(
      ...['{{', '}}', '{{-', ' -}}', '.Envs.A', '$x', ':=', '=', '|', '(', ')', 'range', 'if', 'else', 'end'],
      ...[
        'with',
        'parseNumberRange',
        '"1-3"',
        'print',
        'eq',
        'and',
        ' ',
        ',',
        '1',
        'nil',
        'break',
        '/*',
        '*/',
      ],
    )
    fc.assert(
      fc.property(fc.array(words, { maxLength: 30 }), (parts) => {
        try {
          rendered(parts.join(' '))
        } catch (error) {
          expect(error).toBeInstanceOf(FrpConfigError)
        }
      }),
      { numRuns: 500 },
    )
  })
})
