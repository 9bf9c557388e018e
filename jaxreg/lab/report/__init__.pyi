from jaxreg.lab.report.compose import report as report
