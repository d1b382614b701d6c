{{- define "misrule.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of everything; cut so that a Service may carry it. */}}
{{- define "misrule.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "misrule.name" .) .Release.Name }}
{{- printf "%s-injector" (.Release.Name | trunc 54 | trimSuffix "-") }}
{{- else }}
{{- printf "%s-%s" (.Release.Name | trunc 40 | trimSuffix "-") (include "misrule.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "misrule.selector" -}}
app.kubernetes.io/name: {{ include "misrule.name" . }}-injector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "misrule.labels" -}}
{{ include "misrule.selector" . }}
app.kubernetes.io/part-of: misrule
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "misrule.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "misrule.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "misrule.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* The Secret whose files are the certificate; "" where the injector makes its own. */}}
{{- define "misrule.tls" -}}
{{- if eq .Values.webhook.certificates.mode "files" }}
{{- required "webhook.certificates.secretName names the Secret of mode files" .Values.webhook.certificates.secretName }}
{{- else if eq .Values.webhook.certificates.mode "cert-manager" }}
{{- printf "%s-tls" (include "misrule.fullname" .) }}
{{- end }}
{{- end }}

{{- /* One webhook: a name, a namespaceSelector's expressions and an objectSelector. */}}
{{- define "misrule.webhook" -}}
{{- $root := .root }}
- name: {{ .name }}
  admissionReviewVersions: [v1]
  clientConfig:
    {{- with $root.Values.webhook.certificates.caBundle }}
    caBundle: {{ . | quote }}
    {{- end }}
    service:
      name: {{ include "misrule.fullname" $root }}
      namespace: {{ $root.Release.Namespace }}
      path: /mutate
      port: 443
  failurePolicy: {{ $root.Values.webhook.failurePolicy }}
  matchPolicy: Equivalent
  reinvocationPolicy: {{ $root.Values.webhook.reinvocationPolicy }}
  sideEffects: None
  timeoutSeconds: {{ $root.Values.webhook.timeoutSeconds }}
  namespaceSelector:
    matchExpressions:
      - {{ .namespaces | toJson }}
      - key: kubernetes.io/metadata.name
        operator: NotIn
        values: {{ append $root.Values.webhook.excludeNamespaces $root.Release.Namespace | uniq | toJson }}
  objectSelector:
    matchExpressions:
      - {{ .pods | toJson }}
  rules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE]
      resources: [pods]
      scope: Namespaced
{{- end }}
