import { signal } from '@preact/signals'

const KEY = 'sluice-theme'
const isDark = signal(initial())
apply(isDark.value)

export function ThemeButton() {
  const next = isDark.value ? 'light' : 'dark'
  return (
    <button
      type="button"
      class="icon"
      title={`Switch to ${next}`}
      aria-label={`Switch to ${next}`}
      onClick={toggle}
    >
      <svg viewBox="0 0 24 24" aria-hidden="true">
        {isDark.value ? (
          <path d="M12 4V2M12 22v-2M4 12H2M22 12h-2M6.300 6.300 4.900 4.900M19.100 19.100l-1.400-1.400M6.300 17.700l-1.400 1.400M19.100 4.900l-1.400 1.400M16.500 12a4.500 4.500 0 1 1-9 0 4.500 4.500 0 0 1 9 0Z" />
        ) : (
          <path d="M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500Z" />
        )}
      </svg>
    </button>
  )
}

function initial(): boolean {
  const chosen = localStorage.getItem(KEY)
  return chosen === null ? matchMedia('(prefers-color-scheme: dark)').matches : chosen === 'dark'
}

function toggle(): void {
  isDark.value = !isDark.value
  localStorage.setItem(KEY, isDark.value ? 'dark' : 'light')
  apply(isDark.value)
}

function apply(dark: boolean): void {
  document.documentElement.style.colorScheme = dark ? 'dark' : 'light'
}
