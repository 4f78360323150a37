/** Label selectors as the API defines them (metav1.LabelSelector): all of its terms must hold. */
import type { LabelExpression, LabelSelector, Labels } from "../objects.ts"

/** An empty selector matches everything. */
export function selectorMatches(selector: LabelSelector, labels: Labels): boolean {
  return (
    Object.entries(selector.matchLabels).every(
      ([key, value]) => labelValue(labels, key) === value,
    ) && selector.matchExpressions.every((expression) => expressionMatches(expression, labels))
  )
}

/** `NotIn` also matches where the label is absent. */
function expressionMatches({ key, operator, values }: LabelExpression, labels: Labels): boolean {
  const value = labelValue(labels, key)
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value)
    case "NotIn":
      return value === undefined || !values.includes(value)
    case "Exists":
      return value !== undefined
    case "DoesNotExist":
      return value === undefined
  }
}

function labelValue(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined
}
